/* RFC 3339 to microseconds and back, without the C library's time zones: pure, and the same on every machine. */
#include "proto/wire.h"
#include "truc/event.h"

#include <inttypes.h>

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years are counted from March, so that the leap
 * day is a year's last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1);
    *month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int days_in_month(int64_t year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Takes exactly `digits` digits from the front of `text`. */
static bool take_number(struct truc_bytes *text, size_t digits, int *out)
{
    int value = 0;
    if (text->size < digits) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return false;
        }
        value = value * 10 + (text->data[i] - '0');
    }
    *text = truc_bytes(text->data + digits, text->size - digits);
    *out = value;
    return true;
}

static bool take_letter(struct truc_bytes *text, char letter, char other)
{
    if (text->size == 0 || (text->data[0] != (uint8_t)letter && text->data[0] != (uint8_t)other)) {
        return false;
    }
    *text = truc_bytes(text->data + 1, text->size - 1);
    return true;
}

/* One to nine digits behind the point; those after the sixth are cut off. */
static bool take_fraction(struct truc_bytes *text, int *micros)
{
    int value = 0;
    size_t digits = 0;
    while (text->size > 0 && text->data[0] >= '0' && text->data[0] <= '9') {
        if (digits < 6) {
            value = value * 10 + (text->data[0] - '0');
        }
        digits++;
        *text = truc_bytes(text->data + 1, text->size - 1);
    }
    if (digits == 0 || digits > 9) {
        return false;
    }
    for (size_t i = digits; i < 6; i++) {
        value *= 10;
    }
    *micros = value;
    return true;
}

static bool take_offset(struct truc_bytes *text, int *minutes)
{
    int hour, minute, sign;
    *minutes = 0;
    if (take_letter(text, 'Z', 'z')) {
        return true;
    }
    if (take_letter(text, '+', '+')) {
        sign = 1;
    } else if (take_letter(text, '-', '-')) {
        sign = -1;
    } else {
        return false;
    }
    if (!take_number(text, 2, &hour) || !take_letter(text, ':', ':') || !take_number(text, 2, &minute) || hour > 23 ||
        minute > 59) {
        return false;
    }
    *minutes = sign * (hour * 60 + minute);
    return true;
}

truc_error truc_time_parse(struct truc_bytes text, int64_t *out_us)
{
    int year, month, day, hour, minute, second, micros = 0, offset;
    int64_t seconds;
    if (!take_number(&text, 4, &year) || !take_letter(&text, '-', '-') || !take_number(&text, 2, &month) ||
        !take_letter(&text, '-', '-') || !take_number(&text, 2, &day) || !take_letter(&text, 'T', 't') ||
        !take_number(&text, 2, &hour) || !take_letter(&text, ':', ':') || !take_number(&text, 2, &minute) ||
        !take_letter(&text, ':', ':') || !take_number(&text, 2, &second)) {
        return TRUC_E_MALFORMED;
    }
    if (take_letter(&text, '.', '.') && !take_fraction(&text, &micros)) {
        return TRUC_E_MALFORMED;
    }
    if (!take_offset(&text, &offset) || text.size != 0) {
        return TRUC_E_MALFORMED;
    }
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 59) {
        return TRUC_E_MALFORMED;
    }
    seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - (int64_t)offset * 60;
    if (seconds < TRUC_TIME_MIN_S || seconds > TRUC_TIME_MAX_S) {
        return TRUC_E_MALFORMED;
    }
    *out_us = seconds * 1000000 + micros;
    return TRUC_OK;
}

void truc_time_format(int64_t time_us, char out[40])
{
    int64_t micros = time_us % 1000000, seconds = time_us / 1000000, days, year;
    int month, day, of_day, size;
    char fraction[8] = "";
    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    days = seconds / 86400;
    of_day = (int)(seconds % 86400);
    if (of_day < 0) {
        of_day += 86400;
        days--;
    }
    date_of(days, &year, &month, &day);
    if (micros % 1000 != 0) {
        snprintf(fraction, sizeof fraction, ".%06u", (unsigned)micros % 1000000u);
    } else if (micros != 0) {
        snprintf(fraction, sizeof fraction, ".%03u", (unsigned)(micros / 1000) % 1000u);
    }
    size = snprintf(out, 40, "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u%sZ", year, (unsigned)month % 100u,
                    (unsigned)day % 100u, (unsigned)(of_day / 3600) % 100u, (unsigned)(of_day / 60 % 60) % 100u,
                    (unsigned)(of_day % 60) % 100u, fraction);
    if (size < 0 || size >= 40) {
        out[0] = '\0'; /* cannot be: the longest int64 needs 30 characters */
    }
}
