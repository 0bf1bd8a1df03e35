/* prove PROFILE COUNT FIRST LAST: COUNT events of sequences FIRST to LAST, drawn at random, proven by the hub one after
 * the other (GET_PROOF). Prints microseconds from a question to its verified answer as one JSON object. */
#include "truc/client.h"
#include "truc/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WAIT 30000 /* ms */

struct proving {
    struct truc_client *client;
    bool answered;
    truc_reason reason;
};

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void must(truc_error error, const char *what)
{
    if (error != TRUC_OK) {
        fprintf(stderr, "prove: %s: %s\n", what, truc_error_string(error));
        exit(1);
    }
}

static bool is_open(void *context)
{
    return truc_client_state(((struct proving *)context)->client) == TRUC_CLIENT_OPEN;
}

static bool is_answered(void *context)
{
    return ((struct proving *)context)->answered;
}

static void on_evidence(void *context, truc_reason reason, const struct truc_evidence *evidence)
{
    struct proving *proving = context;
    proving->answered = true;
    proving->reason = evidence == NULL && reason == TRUC_ACCEPTED ? TRUC_BAD_SEAL : reason;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    struct proving proving = {0};
    struct truc_profile *profile = NULL;
    const struct truc_client_callbacks callbacks = {.context = &proving};
    if (argc != 5) {
        fputs("usage: prove PROFILE COUNT FIRST LAST\n", stderr);
        return 2;
    }
    size_t count = strtoul(argv[2], NULL, 10);
    uint64_t first = strtoull(argv[3], NULL, 10), last = strtoull(argv[4], NULL, 10);
    double *us = calloc(count + 1, sizeof *us);
    if (count == 0 || first > last || us == NULL) {
        fputs("prove: nothing to do\n", stderr);
        return 2;
    }
    truc_log_set_level(TRUC_LOG_ERROR);
    struct truc_buffer why = {0};
    truc_error error = truc_profile_load(argv[1], &profile, &why);
    fprintf(stderr, "%.*s", (int)why.size, why.data == NULL ? "" : (const char *)why.data);
    must(error, argv[1]);
    truc_buffer_close(&why);
    must(truc_client_new(truc_profile_config(profile), &callbacks, &proving.client), "opening the client");
    must(truc_client_run(proving.client, is_open, &proving, WAIT), "connecting");
    for (size_t i = 0; i < count; i++) {
        uint64_t draw;
        must(truc_random(&draw, sizeof draw), "chance");
        draw = first + draw % (last - first + 1);
        proving.answered = false;
        int64_t begin = now_ns();
        must(truc_client_evidence(proving.client, draw, on_evidence, &proving), "asking");
        must(truc_client_run(proving.client, is_answered, &proving, WAIT), "waiting for a proof");
        us[i] = (double)(now_ns() - begin) / 1000;
        if (proving.reason != TRUC_ACCEPTED) {
            fprintf(stderr, "prove: sequence %llu: %s\n", (unsigned long long)draw, truc_reason_name(proving.reason));
            return 1;
        }
    }
    qsort(us, count, sizeof *us, by_size);
    printf("{\"count\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"largest_us\": %.1f}\n", count, us[count / 2],
           us[count * 99 / 100], us[count - 1]);
    truc_client_free(&proving.client);
    truc_profile_free(&profile);
    free(us);
    return 0;
}
