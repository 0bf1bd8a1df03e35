#ifndef HUB_NET_TCP_H
#define HUB_NET_TCP_H

#include <stdint.h>

/* Bytes that the kernel has received on a TCP connection since it was made; 0 where it cannot tell. */
uint64_t hub_tcp_received(int fd);
/* Bytes that the other side has acknowledged. */
uint64_t hub_tcp_acknowledged(int fd);

#endif
