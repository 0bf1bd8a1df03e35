/* Frames, and the bounded unpacking of the protobuf messages that they carry. */
#include "truc/frame.h"
#include "proto/wire.h"

#define DEPTH_MAX 8 /* messages within messages; the schema needs 4 */
#define FIRST_BLOCK ((size_t)64 << 10)
#define ALIGNMENT _Alignof(max_align_t)

struct kind {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor; /* NULL for DATA and for numbers that are not in use */
    bool has_body;
};

static const struct kind kinds[] = {
    [TRUC_FRAME_HELLO] = {"HELLO", &truc__v1__hello__descriptor, false},
    [TRUC_FRAME_SUBMIT] = {"SUBMIT", &truc__v1__submit__descriptor, true},
    [TRUC_FRAME_CREDIT] = {"CREDIT", &truc__v1__credit__descriptor, false},
    [TRUC_FRAME_ACK] = {"ACK", &truc__v1__ack__descriptor, false},
    [TRUC_FRAME_NACK] = {"NACK", &truc__v1__nack__descriptor, false},
    [TRUC_FRAME_SUBSCRIBE] = {"SUBSCRIBE", &truc__v1__subscribe__descriptor, false},
    [TRUC_FRAME_GET_PROOF] = {"GET_PROOF", &truc__v1__get_proof__descriptor, false},
    [TRUC_FRAME_QUERY] = {"QUERY", &truc__v1__query__descriptor, false},
    [TRUC_FRAME_PING] = {"PING", &truc__v1__ping__descriptor, false},
    [TRUC_FRAME_BYE] = {"BYE", &truc__v1__bye__descriptor, false},
    [TRUC_FRAME_DATA] = {"DATA", NULL, true},
    [TRUC_FRAME_WELCOME] = {"WELCOME", &truc__v1__welcome__descriptor, false},
    [TRUC_FRAME_RECEIPTS] = {"RECEIPTS", &truc__v1__receipts__descriptor, false},
    [TRUC_FRAME_REFUSED] = {"REFUSED", &truc__v1__refused__descriptor, false},
    [TRUC_FRAME_DELIVER] = {"DELIVER", &truc__v1__deliver__descriptor, true},
    [TRUC_FRAME_SETTLED] = {"SETTLED", &truc__v1__settled__descriptor, false},
    [TRUC_FRAME_PROOF] = {"PROOF", &truc__v1__proof__descriptor, false},
    [TRUC_FRAME_ANSWER] = {"ANSWER", &truc__v1__answer__descriptor, true},
    [TRUC_FRAME_PONG] = {"PONG", &truc__v1__pong__descriptor, false},
};

/* NULL for a number that is no kind. */
static const struct kind *kind_of(unsigned kind)
{
    return kind < sizeof kinds / sizeof kinds[0] && kinds[kind].name != NULL ? &kinds[kind] : NULL;
}

const char *truc_frame_name(unsigned kind)
{
    const struct kind *found = kind_of(kind);
    return found == NULL ? "UNKNOWN" : found->name;
}

const ProtobufCMessageDescriptor *truc_frame_descriptor(unsigned kind)
{
    const struct kind *found = kind_of(kind);
    return found == NULL ? NULL : found->descriptor;
}

bool truc_frame_has_body(unsigned kind)
{
    const struct kind *found = kind_of(kind);
    return found != NULL && found->has_body;
}

truc_error truc_frame_encode(enum truc_frame_kind kind, unsigned flags, const ProtobufCMessage *message,
                             struct truc_buffer *out)
{
    const struct kind *found = kind_of((unsigned)kind);
    size_t size;
    truc_error error;
    uint8_t *at;
    if (found == NULL || (flags & ~TRUC_FRAME_MORE) != 0 || (flags != 0 && !found->has_body) ||
        found->descriptor != (message == NULL ? NULL : message->descriptor)) {
        return TRUC_E_INVALID;
    }
    size = message == NULL ? 0 : protobuf_c_message_get_packed_size(message);
    if (size > TRUC_HUB_HEADER_MAX - TRUC_FRAME_PREFIX) {
        return TRUC_E_TOO_LARGE;
    }
    error = truc_buffer_reserve(out, TRUC_FRAME_PREFIX + size);
    if (error != TRUC_OK) {
        return error;
    }
    at = out->data + out->size;
    at[0] = TRUC_PROTOCOL_VERSION;
    at[1] = (uint8_t)kind;
    at[2] = (uint8_t)flags;
    at[3] = 0;
    if (message != NULL) {
        protobuf_c_message_pack(message, at + TRUC_FRAME_PREFIX);
    }
    out->size += TRUC_FRAME_PREFIX + size;
    return TRUC_OK;
}

truc_error truc_frame_parse(struct truc_bytes part, struct truc_frame_head *out)
{
    const struct kind *found;
    if (part.size < TRUC_FRAME_PREFIX || part.size > TRUC_HUB_HEADER_MAX) {
        return TRUC_E_MALFORMED;
    }
    if (part.data[0] != TRUC_PROTOCOL_VERSION) {
        return TRUC_E_UNSUPPORTED;
    }
    found = kind_of(part.data[1]);
    if (found == NULL) {
        return TRUC_E_UNSUPPORTED;
    }
    out->kind = part.data[1];
    out->flags = part.data[2];
    out->message = truc_bytes(part.data + TRUC_FRAME_PREFIX, part.size - TRUC_FRAME_PREFIX);
    if ((out->flags & ~TRUC_FRAME_MORE) != 0 || (out->flags != 0 && !found->has_body) || part.data[3] != 0 ||
        (found->descriptor == NULL && out->message.size != 0)) {
        return TRUC_E_MALFORMED;
    }
    return TRUC_OK;
}

/* ---- the arena -------------------------------------------------------------------------------------------------- */

struct block {
    struct block *next; /* the one allocated before */
    size_t capacity, used;
    _Alignas(max_align_t) uint8_t bytes[];
};

struct truc_arena {
    ProtobufCAllocator allocator;
    struct block *first, *current;
    size_t limit, total; /* bytes of all blocks: never more than limit */
    truc_error refused;  /* why the last allocation failed */
};

static struct block *block_new(size_t capacity)
{
    struct block *block = malloc(sizeof *block + capacity);
    if (block != NULL) {
        block->next = NULL;
        block->capacity = capacity;
        block->used = 0;
    }
    return block;
}

/* A block with room for `size` bytes, each new one twice the last, as long as the limit allows. */
static struct block *block_with_room(struct truc_arena *arena, size_t size)
{
    struct block *block = arena->current;
    size_t capacity, left = arena->limit - arena->total;
    if (size <= block->capacity - block->used) {
        return block;
    }
    if (size > left) {
        arena->refused = TRUC_E_TOO_LARGE;
        return NULL;
    }
    capacity = block->capacity * 2;
    if (capacity < size) {
        capacity = size;
    }
    if (capacity > left) {
        capacity = left;
    }
    block = block_new(capacity);
    if (block == NULL) {
        arena->refused = TRUC_E_NOMEM;
        return NULL;
    }
    block->next = arena->current;
    arena->current = block;
    arena->total += capacity;
    return block;
}

static void *arena_alloc(void *context, size_t size)
{
    struct truc_arena *arena = context;
    struct block *block;
    void *place;
    if (size > arena->limit) {
        arena->refused = TRUC_E_TOO_LARGE;
        return NULL;
    }
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    block = block_with_room(arena, size);
    if (block == NULL) {
        return NULL;
    }
    place = block->bytes + block->used;
    block->used += size;
    return place;
}

void *truc_arena_alloc(struct truc_arena *arena, size_t size)
{
    void *place = arena_alloc(arena, size);
    if (place != NULL) {
        memset(place, 0, size);
    }
    return place;
}

/* Everything goes at once, at reset. */
static void arena_free_one(void *context, void *pointer)
{
    (void)context;
    (void)pointer;
}

truc_error truc_arena_new(size_t limit, struct truc_arena **out)
{
    size_t first = limit < FIRST_BLOCK ? limit / ALIGNMENT * ALIGNMENT : FIRST_BLOCK;
    struct truc_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL) {
        return TRUC_E_NOMEM;
    }
    arena->first = block_new(first);
    if (arena->first == NULL) {
        free(arena);
        return TRUC_E_NOMEM;
    }
    arena->current = arena->first;
    arena->limit = limit;
    arena->total = first;
    arena->allocator.alloc = arena_alloc;
    arena->allocator.free = arena_free_one;
    arena->allocator.allocator_data = arena;
    *out = arena;
    return TRUC_OK;
}

void truc_arena_reset(struct truc_arena *arena)
{
    while (arena->current != arena->first) {
        struct block *block = arena->current;
        arena->current = block->next;
        free(block);
    }
    arena->first->used = 0;
    arena->total = arena->first->capacity;
}

void truc_arena_free(struct truc_arena **arena)
{
    if (*arena == NULL) {
        return;
    }
    truc_arena_reset(*arena);
    free((*arena)->first);
    free(*arena);
    *arena = NULL;
}

/* ---- unpacking -------------------------------------------------------------------------------------------------- */

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *descriptor, uint32_t id)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].id == id) {
            return &descriptor->fields[i];
        }
    }
    return NULL;
}

static bool text_is_valid(struct truc_bytes text)
{
    return truc_utf8_is_valid(text) && (text.size == 0 || memchr(text.data, 0, text.size) == NULL);
}

/* protobuf-c checks neither the text of strings (and hands them on as C strings: one with a NUL inside would mean two
 * things), nor that a field comes once, and allocates as it goes: so the bytes are walked first. */
static bool walk(const ProtobufCMessageDescriptor *descriptor, struct truc_bytes bytes, unsigned depth)
{
    struct truc_wire wire = truc_wire_of(bytes);
    uint64_t seen = 0;
    while (truc_wire_more(&wire)) {
        const ProtobufCFieldDescriptor *field;
        struct truc_bytes value;
        uint32_t id;
        unsigned type;
        if (!truc_wire_tag(&wire, &id, &type)) {
            return false;
        }
        field = field_of(descriptor, id);
        if (field != NULL && field->label != PROTOBUF_C_LABEL_REPEATED) {
            uint64_t bit = 1ull << ((size_t)(field - descriptor->fields) & 63);
            if (seen & bit) {
                return false;
            }
            seen |= bit;
        }
        if (type != TRUC_WIRE_BYTES) {
            if (!truc_wire_skip(&wire, type)) {
                return false;
            }
            continue;
        }
        if (!truc_wire_bytes(&wire, &value)) {
            return false;
        }
        if (field != NULL && field->type == PROTOBUF_C_TYPE_STRING && !text_is_valid(value)) {
            return false;
        }
        if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (depth == DEPTH_MAX || !walk(field->descriptor, value, depth + 1))) {
            return false;
        }
    }
    return true;
}

truc_error truc_unpack(struct truc_arena *arena, const ProtobufCMessageDescriptor *descriptor, struct truc_bytes bytes,
                       ProtobufCMessage **out)
{
    static const uint8_t nothing[1];
    ProtobufCMessage *message;
    if (!walk(descriptor, bytes, 0)) {
        return TRUC_E_MALFORMED;
    }
    arena->refused = TRUC_OK;
    message =
        protobuf_c_message_unpack(descriptor, &arena->allocator, bytes.size, bytes.size == 0 ? nothing : bytes.data);
    if (message == NULL) {
        return arena->refused != TRUC_OK ? arena->refused : TRUC_E_MALFORMED;
    }
    *out = message;
    return TRUC_OK;
}
