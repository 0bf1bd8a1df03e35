/* Threads that take pieces of work from one list and give them back in another. */
#ifndef HUB_STORE_CREW_H
#define HUB_STORE_CREW_H

#include "truc/bytes.h"

/* The first member of whatever is worked on. */
struct hub_work {
    struct hub_work *next; /* the crew's */
};

struct hub_crew_options {
    const char *name; /* of the threads, for top and perf */
    unsigned threads; /* 1: work comes back in the order in which it was given */
    /* On thread `thread` (from 0), without any lock. */
    void (*run)(void *context, unsigned thread, struct hub_work *work);
    void *context;
    /* After each piece, on the crew's threads: must only signal. */
    void (*wake)(void *wake_context);
    void *wake_context;
};

struct hub_crew;
TRUC_MUST_USE truc_error hub_crew_new(const struct hub_crew_options *options, struct hub_crew **out);
/* Does what was given, then ends the threads. What is finished can still be taken. */
void hub_crew_end(struct hub_crew *crew);
/* Ends it and forgets what nobody took. */
void hub_crew_free(struct hub_crew **crew);
void hub_crew_submit(struct hub_crew *crew, struct hub_work *work);
/* The next finished piece, or NULL. */
struct hub_work *hub_crew_finished(struct hub_crew *crew);

#endif
