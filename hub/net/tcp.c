/* Apart, because the kernel's header, which knows tcpi_bytes_received, and libc's of the same name exclude each other.
 */
#include "hub/net/tcp.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static int tell(int fd, struct tcp_info *info)
{
    socklen_t size = sizeof *info;

    memset(info, 0, sizeof *info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size);
}

uint64_t hub_tcp_received(int fd)
{
    struct tcp_info info;

    return tell(fd, &info) == 0 ? info.tcpi_bytes_received : 0;
}

uint64_t hub_tcp_acknowledged(int fd)
{
    struct tcp_info info;

    return tell(fd, &info) == 0 ? info.tcpi_bytes_acked : 0;
}
