/* Log lines for people and machines: "2026-11-22T02:30:00.123Z level=info event=session_open agency=H14.09 ...", to
 * stderr. Never payloads, personal data or keys. Values with spaces or quotes are quoted, control bytes escaped, so
 * that a hostile peer's text cannot forge a line. Any thread. */
#ifndef TRUC_LOG_H
#define TRUC_LOG_H

#include "truc/bytes.h"

enum truc_log_level { TRUC_LOG_ERROR, TRUC_LOG_WARN, TRUC_LOG_INFO, TRUC_LOG_DEBUG };

void truc_log_set_level(enum truc_log_level level);
TRUC_MUST_USE truc_error truc_log_level_parse(const char *text, enum truc_log_level *out);
/* Pairs of (key, printf-like value) are not worth a mini language: `fields` is a printf format that yields key=value
 * pairs, and truc_log_quote() makes a foreign value safe. */
void truc_log(enum truc_log_level level, const char *event, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));
/* Writes `value` as one token (quoted where needed, cut to fit) into out; returns out. */
const char *truc_log_quote(struct truc_bytes value, char *out, size_t size);

#endif
