/* Reading and writing the values of the state map: little-endian numbers, so that the hot records are plain loads and
 * stores; keys are big-endian, so that they sort. hub/STORAGE.md, "State", lists every record.
 *
 * To change a record: give it a new key letter beside the old one, read both, and raise CORE_STATE_VERSION; the state
 * is a function of the journal, so that a hub may also throw it away and apply from row 0. */
#ifndef HUB_CORE_RECORD_H
#define HUB_CORE_RECORD_H

#include "truc/bytes.h"

#include <endian.h>

static inline void store16(uint8_t *to, uint16_t value)
{
    value = htole16(value);
    memcpy(to, &value, sizeof value);
}

static inline void store32(uint8_t *to, uint32_t value)
{
    value = htole32(value);
    memcpy(to, &value, sizeof value);
}

static inline void store64(uint8_t *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

static inline uint16_t load16(const uint8_t *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return le16toh(value);
}

static inline uint32_t load32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return le32toh(value);
}

static inline uint64_t load64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

/* A writer keeps its first error, so that a record is written in one run and checked once. */
struct writer {
    struct truc_buffer *buffer;
    truc_error error;
};

static inline void write_raw(struct writer *writer, const void *data, size_t size)
{
    if (writer->error == TRUC_OK) {
        writer->error = truc_buffer_append(writer->buffer, data, size);
    }
}

static inline void write8(struct writer *writer, uint8_t value)
{
    write_raw(writer, &value, 1);
}

static inline void write32(struct writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    store32(bytes, value);
    write_raw(writer, bytes, sizeof bytes);
}

static inline void write64(struct writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    store64(bytes, value);
    write_raw(writer, bytes, sizeof bytes);
}

static inline void write_time(struct writer *writer, int64_t value)
{
    write64(writer, (uint64_t)value);
}

/* Length (4 bytes) and bytes. */
static inline void write_text(struct writer *writer, struct truc_bytes text)
{
    write32(writer, (uint32_t)text.size);
    write_raw(writer, text.data, text.size);
}

/* A reader goes bad at the first byte that is missing and then yields zeros; read_done() tells in the end. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static inline struct reader reader_of(struct truc_bytes bytes)
{
    return (struct reader){bytes.data, bytes.data + bytes.size, false};
}

static inline const uint8_t *read_raw(struct reader *reader, size_t size)
{
    if (reader->bad || (size_t)(reader->end - reader->at) < size) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *at = reader->at;
    reader->at += size;
    return at;
}

static inline uint8_t read8(struct reader *reader)
{
    const uint8_t *at = read_raw(reader, 1);
    return at == NULL ? 0 : *at;
}

static inline uint32_t read32(struct reader *reader)
{
    const uint8_t *at = read_raw(reader, 4);
    return at == NULL ? 0 : load32(at);
}

static inline uint64_t read64(struct reader *reader)
{
    const uint8_t *at = read_raw(reader, 8);
    return at == NULL ? 0 : load64(at);
}

static inline int64_t read_time(struct reader *reader)
{
    return (int64_t)read64(reader);
}

static inline struct truc_bytes read_text(struct reader *reader)
{
    size_t size = read32(reader);
    const uint8_t *at = read_raw(reader, size);
    return at == NULL ? truc_bytes("", 0) : truc_bytes(at, size);
}

/* true where everything was there and nothing is left over. */
static inline bool read_done(const struct reader *reader)
{
    return !reader->bad && reader->at == reader->end;
}

#endif
