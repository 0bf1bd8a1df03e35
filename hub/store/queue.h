/* A list with two ends, through a `next` member. */
#ifndef HUB_STORE_QUEUE_H
#define HUB_STORE_QUEUE_H

#include <stddef.h>

#define QUEUE_OF(type)                                                                                                 \
    struct {                                                                                                           \
        type *first, *last;                                                                                            \
    }

#define QUEUE_PUSH(queue, item)                                                                                        \
    do {                                                                                                               \
        (item)->next = NULL;                                                                                           \
        if ((queue).first == NULL) {                                                                                   \
            (queue).first = (item);                                                                                    \
        } else {                                                                                                       \
            (queue).last->next = (item);                                                                               \
        }                                                                                                              \
        (queue).last = (item);                                                                                         \
    } while (0)

/* The first item into `item`, NULL when empty. */
#define QUEUE_POP(queue, item)                                                                                         \
    do {                                                                                                               \
        (item) = (queue).first;                                                                                        \
        if ((item) != NULL) {                                                                                          \
            (queue).first = (item)->next;                                                                              \
            (item)->next = NULL;                                                                                       \
        }                                                                                                              \
    } while (0)

#endif
