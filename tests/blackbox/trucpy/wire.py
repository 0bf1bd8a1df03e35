"""Protobuf's wire format by hand: to see fields that a parser would pass over, and to make messages that no generator makes."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """Bytes that are no protobuf message."""


def encode_varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data, at):
    """-> (value, next position); at most 10 bytes, 64 bits."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("varint ends early or is too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def field_bytes(number, data):
    return encode_varint(number << 3 | BYTES) + encode_varint(len(data)) + bytes(data)


def field_varint(number, value):
    return encode_varint(number << 3 | VARINT) + encode_varint(value)


def fields(data):
    """Yields (number, wire type, value) in the order of the bytes."""
    at = 0
    while at < len(data):
        key, at = decode_varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError("field number 0")
        if kind == VARINT:
            value, at = decode_varint(data, at)
        else:
            if kind == BYTES:
                length, at = decode_varint(data, at)
            elif kind in (FIXED64, FIXED32):
                length = 8 if kind == FIXED64 else 4
            else:
                raise WireError(f"wire type {kind}")
            if at + length > len(data):
                raise WireError("field runs over the end")
            value, at = data[at : at + length], at + length
        yield number, kind, value
