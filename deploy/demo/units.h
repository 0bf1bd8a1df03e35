/* Administrative units read at a day: on 2025-07-01 most codes changed what they name. */
#ifndef DEMO_UNITS_H
#define DEMO_UNITS_H

#include "truc/bytes.h"

#define DEMO_UNITS_CHANGED "20250701"

struct demo_units; /* communes of Cao Bang (04), before and after */

/* From <data>/vn-admin-units. Errors: TRUC_E_NOT_FOUND (the lists are not there), TRUC_E_MALFORMED, TRUC_E_IO. */
TRUC_MUST_USE truc_error demo_units_load(const char *data, struct demo_units **out);
void demo_units_free(struct demo_units **units);
/* The name of a code on a day (yyyymmdd); NULL: no such code then. Lives as long as the units. */
const char *demo_units_name(const struct demo_units *units, const char *code, const char *day);

#endif
