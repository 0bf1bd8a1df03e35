/* Frames: what one ZeroMQ message carries. PROTOCOL.md, "Frames".
 *
 * A message is one or two ZeroMQ parts. Part 1: byte protocol version (1), byte kind, byte flags, byte 0, then the
 * kind's protobuf message. Part 2, where the kind has a body: raw bytes, at most TRUC_PIECE_MAX. A longer body goes on
 * in DATA messages that follow without any other message between them; every message but the body's last has
 * TRUC_FRAME_MORE. */
#ifndef TRUC_FRAME_H
#define TRUC_FRAME_H

#include "truc.pb-c.h"
#include "truc/bytes.h"

#define TRUC_PROTOCOL_VERSION 1
#define TRUC_FRAME_PREFIX 4
#define TRUC_HEADER_MAX (64u << 10)    /* bytes of part 1 sent by a client */
#define TRUC_HUB_HEADER_MAX (1u << 20) /* bytes of part 1 sent by a hub */
#define TRUC_PIECE_MAX (256u << 10)
#define TRUC_BODY_MAX ((4u << 20) + (8u << 10))
#define TRUC_FRAME_MORE 1u

enum truc_frame_kind {
    TRUC_FRAME_HELLO = 1,
    TRUC_FRAME_SUBMIT = 2, /* body */
    TRUC_FRAME_CREDIT = 3,
    TRUC_FRAME_ACK = 4,
    TRUC_FRAME_NACK = 5,
    TRUC_FRAME_SUBSCRIBE = 6,
    TRUC_FRAME_GET_PROOF = 7,
    TRUC_FRAME_QUERY = 8,
    TRUC_FRAME_PING = 9,
    TRUC_FRAME_BYE = 10,  /* both ways */
    TRUC_FRAME_DATA = 11, /* both ways; no protobuf message, body */
    TRUC_FRAME_WELCOME = 33,
    TRUC_FRAME_RECEIPTS = 34,
    TRUC_FRAME_REFUSED = 35,
    TRUC_FRAME_DELIVER = 36, /* body */
    TRUC_FRAME_SETTLED = 37,
    TRUC_FRAME_PROOF = 38,
    TRUC_FRAME_ANSWER = 39, /* body */
    TRUC_FRAME_PONG = 40,
};

/* "SUBMIT"; "UNKNOWN" for another number. Static storage. */
const char *truc_frame_name(unsigned kind);
/* The protobuf message of a kind; NULL for DATA and for unknown kinds. */
const ProtobufCMessageDescriptor *truc_frame_descriptor(unsigned kind);
bool truc_frame_has_body(unsigned kind);

/* Appends part 1. `message` is of the kind's type, or NULL for DATA. */
TRUC_MUST_USE truc_error truc_frame_encode(enum truc_frame_kind kind, unsigned flags, const ProtobufCMessage *message,
                                           struct truc_buffer *out);

struct truc_frame_head {
    uint8_t kind, flags;
    struct truc_bytes message; /* borrowed */
};

/* Checks version, known kind, known flags, the zero byte. Errors: TRUC_E_MALFORMED, TRUC_E_UNSUPPORTED (version, kind).
 */
TRUC_MUST_USE truc_error truc_frame_parse(struct truc_bytes part, struct truc_frame_head *out);

/* A bounded arena for unpacking foreign protobuf: a header of tiny fields may unpack to many times its size.
 * Allocations beyond `limit` fail. Reset keeps the first block. Not thread-safe. */
struct truc_arena;
TRUC_MUST_USE truc_error truc_arena_new(size_t limit, struct truc_arena **out);
void truc_arena_free(struct truc_arena **arena);
void truc_arena_reset(struct truc_arena *arena);
/* Zeroed room for what is decoded beside an unpacked message; lives until reset. NULL beyond the limit or without
 * memory. */
void *truc_arena_alloc(struct truc_arena *arena, size_t size);
/* Unpacks into the arena; the result lives until reset. Strings are UTF-8 without NUL, a singular field comes once,
 * varints are in their shortest form; unknown fields are passed over.
 * Errors: TRUC_E_MALFORMED, TRUC_E_TOO_LARGE (arena limit), TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error truc_unpack(struct truc_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                     struct truc_bytes bytes, ProtobufCMessage **out);

#endif
