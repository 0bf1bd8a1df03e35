/* Z85: four bytes as five printable characters, ZeroMQ's text form of CURVE keys. */
#include "truc/bytes.h"

static const char digits[86] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

truc_error truc_z85_encode(struct truc_bytes in, char *out)
{
    if (in.size % 4 != 0) {
        return TRUC_E_INVALID;
    }
    for (size_t i = 0; i < in.size; i += 4) {
        uint32_t value = (uint32_t)in.data[i] << 24 | (uint32_t)in.data[i + 1] << 16 | (uint32_t)in.data[i + 2] << 8 |
                         in.data[i + 3];
        for (size_t digit = 5; digit-- > 0;) {
            out[digit] = digits[value % 85];
            value /= 85;
        }
        out += 5;
    }
    *out = '\0';
    return TRUC_OK;
}

truc_error truc_z85_decode(struct truc_bytes in, uint8_t *out, size_t size)
{
    if (size % 4 != 0) {
        return TRUC_E_INVALID;
    }
    if (in.size != size / 4 * 5) {
        return TRUC_E_MALFORMED;
    }
    for (size_t i = 0; i < in.size; i += 5) {
        uint64_t value = 0;
        for (size_t digit = 0; digit < 5; digit++) {
            const char *found = in.data[i + digit] == 0 ? NULL : strchr(digits, in.data[i + digit]);
            if (found == NULL) {
                return TRUC_E_MALFORMED;
            }
            value = value * 85 + (uint64_t)(found - digits);
        }
        if (value > UINT32_MAX) { /* five digits can say more than four bytes: a second spelling */
            return TRUC_E_MALFORMED;
        }
        for (size_t byte = 0; byte < 4; byte++) {
            *out++ = (uint8_t)(value >> (24 - 8 * byte));
        }
    }
    return TRUC_OK;
}
