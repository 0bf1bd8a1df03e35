#include "truc/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static _Atomic int log_level = TRUC_LOG_INFO;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void truc_log_set_level(enum truc_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

truc_error truc_log_level_parse(const char *text, enum truc_log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum truc_log_level)i;
            return TRUC_OK;
        }
    }
    return TRUC_E_INVALID;
}

static size_t stamp(char *line, size_t size)
{
    struct timespec now;
    struct tm utc;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || gmtime_r(&now.tv_sec, &utc) == NULL) {
        return 0;
    }
    size_t used = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + used, size - used, ".%03ldZ ", now.tv_nsec / 1000000);
    return more > 0 ? used + (size_t)more : used;
}

/* Whoever reads the log may have stopped: a pipe that stays full for so long must not stop the program too. */
#define STALL_MS 1000

static _Atomic unsigned long lines_lost;

static bool log_takes_more(bool losing)
{
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
    int ready;
    do {
        ready = poll(&log, 1, losing ? 0 : STALL_MS);
    } while (ready < 0 && errno == EINTR);
    /* POLLOUT of a pipe: PIPE_BUF bytes fit, more than two lines. An error is for write() to find. */
    return ready != 0;
}

static bool write_all(const char *line, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(STDERR_FILENO, line, size);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return false;
        }
        line += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

/* One write for one line: lines of several threads and processes do not mix. A log that cannot be written must not stop
 * the program: lines are lost then, and their number goes before the next one that is not. */
static void emit(const char *line, size_t size)
{
    char both[2 * LINE_MAX_BYTES];
    unsigned long lost = atomic_exchange_explicit(&lines_lost, 0, memory_order_relaxed);
    bool ready = log_takes_more(lost > 0);
    if (lost > 0 && ready) {
        size_t used = stamp(both, LINE_MAX_BYTES);
        int more =
            snprintf(both + used, LINE_MAX_BYTES - used,
                     "level=warn event=log_lost lines=%lu what=\"the log could not be written for a while\"\n", lost);
        used += more > 0 ? (size_t)more : 0;
        memcpy(both + used, line, size);
        line = both;
        size += used;
    }
    if (!ready || !write_all(line, size)) {
        atomic_fetch_add_explicit(&lines_lost, lost + 1, memory_order_relaxed);
    }
}

void truc_log(enum truc_log_level level, const char *event, const char *fields, ...)
{
    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed)) {
        return;
    }
    int saved = errno;
    char line[LINE_MAX_BYTES];
    const size_t room = sizeof line - 5; /* " ...\n" of a line that is cut */
    size_t used = stamp(line, room);
    int more = snprintf(line + used, room - used, "level=%s event=%s", level_names[level], event);
    used = more < 0 ? used : (size_t)more >= room - used ? room - 1 : used + (size_t)more;
    if (fields != NULL && fields[0] != '\0' && used + 1 < room) {
        line[used++] = ' ';
        va_list arguments;
        va_start(arguments, fields);
        more = vsnprintf(line + used, room - used, fields, arguments);
        va_end(arguments);
        if (more >= 0 && (size_t)more >= room - used) {
            memcpy(line + room - 1, " ...", 4);
            used = room + 3;
        } else if (more > 0) {
            used += (size_t)more;
        }
    }
    /* A value that nobody quoted must still not begin a line of its own. */
    for (size_t i = 0; i < used; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    while (used > 0 && line[used - 1] == ' ') {
        used--;
    }
    line[used++] = '\n';
    emit(line, used);
    errno = saved;
}

static bool is_plain(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

/* The bytes that stand for `c` inside quotes; returns their number. UTF-8 travels as it is: only control bytes can
 * harm. */
static size_t escape(uint8_t c, char out[5])
{
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    if (c == '\n' || c == '\t' || c == '\r') {
        out[0] = '\\';
        out[1] = c == '\n' ? 'n' : c == '\t' ? 't' : 'r';
        return 2;
    }
    if (c < 0x20 || c == 0x7f) {
        (void)snprintf(out, 5, "\\x%02x", c);
        return 4;
    }
    out[0] = (char)c;
    return 1;
}

/* Length of the well-formed UTF-8 sequence at `at`; 0 where there is none, and for a C1 control, which terminals obey.
 */
static size_t utf8_length(struct truc_bytes value, size_t at)
{
    uint8_t lead = value.data[at];
    size_t length = lead < 0x80             ? 1
                    : (lead & 0xe0) == 0xc0 ? 2
                    : (lead & 0xf0) == 0xe0 ? 3
                    : (lead & 0xf8) == 0xf0 ? 4
                                            : 0;
    if (length == 0 || length > value.size - at) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((value.data[at + i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool c1 = lead == 0xc2 && value.data[at + 1] < 0xa0;
    bool overlong = lead == 0xc0 || lead == 0xc1;
    return c1 || overlong ? 0 : length;
}

const char *truc_log_quote(struct truc_bytes value, char *out, size_t size)
{
    if (size == 0) {
        return "";
    }
    bool plain = value.size > 0 && value.size < size;
    for (size_t i = 0; plain && i < value.size; i++) {
        plain = is_plain(value.data[i]);
    }
    if (plain) {
        memcpy(out, value.data, value.size);
        out[value.size] = '\0';
        return out;
    }
    if (size < 6) { /* quotes, dots, NUL */
        out[0] = '\0';
        return out;
    }
    size_t used = 0;
    out[used++] = '"';
    for (size_t i = 0; i < value.size;) {
        char piece[5];
        size_t take = utf8_length(value, i);
        size_t length;
        if (take > 1) {
            memcpy(piece, value.data + i, take);
            length = take;
        } else if (take == 1) {
            length = escape(value.data[i], piece);
        } else {
            take = 1;
            length = (size_t)snprintf(piece, sizeof piece, "\\x%02x", value.data[i]);
        }
        bool last = i + take == value.size;
        if (used + length + (last ? 2 : 5) > size) { /* closing quote and NUL; dots too where more would follow */
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        memcpy(out + used, piece, length);
        used += length;
        i += take;
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}
