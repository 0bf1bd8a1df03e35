/* truc log verify: the parent. It starts the child that reads, shows how far it is, collects what it finds, and
 * survives its death: then that is the finding. */
#include "hub/admin/verify.h"
#include "truc/config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOWN_MAX 100

struct verifying {
    const struct admin_call *call;
    struct verify_progress *progress;
    json_t *findings, *summary;
    struct truc_buffer line;
    int64_t begun_us;
    bool bar;
};

static int64_t monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000 + (int64_t)now.tv_nsec / 1000;
}

static void draw(const struct verifying *verifying)
{
    static const char full[] = "##############################", empty[] = "..............................";
    uint64_t rows = atomic_load(&verifying->progress->rows), done = atomic_load(&verifying->progress->rows_done);
    uint64_t events = atomic_load(&verifying->progress->events);
    double seconds = (double)(monotonic_us() - verifying->begun_us) / 1e6;
    int filled = rows == 0 ? 0 : (int)(30.0 * (double)done / (double)rows);
    if (verifying->bar) {
        fprintf(stderr, "\r[%.*s%.*s] %3d%%  %llu events  %.0f/s  %zu findings ", filled, full, 30 - filled, empty,
                rows == 0 ? 0 : (int)(100.0 * (double)done / (double)rows), (unsigned long long)events,
                seconds > 0 ? (double)events / seconds : 0, json_array_size(verifying->findings));
    }
}

static void take_line(struct verifying *verifying, const char *line, size_t size)
{
    json_t *row = json_loadb(line, size, 0, NULL);
    const char *kind = json_string_value(json_object_get(row, "kind"));
    if (kind != NULL && strcmp(kind, "finding") == 0) {
        (void)json_object_del(row, "kind");
        admin_must(json_array_append(verifying->findings, row) == 0);
    } else if (kind != NULL && strcmp(kind, "summary") == 0) {
        (void)json_object_del(row, "kind");
        json_decref(verifying->summary);
        verifying->summary = json_incref(row);
    }
    json_decref(row); /* half a line of a child that crashed is no row */
}

/* Reads until the child closes its end. */
static void collect(struct verifying *verifying, int fd)
{
    for (;;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int ready = poll(&waiting, 1, 200);
        draw(verifying);
        if (ready <= 0) {
            continue; /* time for the bar, or a signal */
        }
        admin_must(truc_buffer_reserve(&verifying->line, 65536) == TRUC_OK);
        ssize_t got = read(fd, verifying->line.data + verifying->line.size, 65536);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return;
        }
        verifying->line.size += (size_t)got;
        size_t begin = 0;
        for (size_t i = 0; i < verifying->line.size; i++) {
            if (verifying->line.data[i] == '\n') {
                take_line(verifying, (const char *)verifying->line.data + begin, i - begin);
                begin = i + 1;
            }
        }
        memmove(verifying->line.data, verifying->line.data + begin, verifying->line.size - begin);
        verifying->line.size -= begin;
    }
}

/* The rows that the child had in hand when it died. */
static void find_crash(struct verifying *verifying, int status)
{
    char rows[256] = "";
    size_t used = 0;
    uint64_t replaying = atomic_load(&verifying->progress->replaying), first = replaying;
    for (unsigned i = 0; i <= VERIFY_WORKERS_MAX && used < sizeof(rows); i++) {
        uint64_t row = i == VERIFY_WORKERS_MAX ? replaying : atomic_load(&verifying->progress->reading[i]);
        if (row > 0) {
            int length = snprintf(rows + used, sizeof(rows) - used, "%s%llu", used > 0 ? ", " : "",
                                  (unsigned long long)(row - 1));
            used += length > 0 ? (size_t)length : 0;
            first = first == 0 || row < first ? row : first;
        }
    }
    char what[512];
    snprintf(what, sizeof(what),
             "reading crashed with %s while row%s %s %s in hand: a page of the file is damaged there",
             WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "an unknown end", strchr(rows, ',') == NULL ? "" : "s",
             rows[0] == '\0' ? "(none: opening the file)" : rows, strchr(rows, ',') == NULL ? "was" : "were");
    json_t *row =
        json_pack("{s:o, s:n, s:n, s:n, s:s}", "row", first == 0 ? json_null() : json_integer((json_int_t)(first - 1)),
                  "leaf", "sequence", "agency", "what", what);
    admin_must(row != NULL && json_array_append_new(verifying->findings, row) == 0);
}

static long long number_of(const json_t *summary, const char *key)
{
    return (long long)json_integer_value(json_object_get(summary, key));
}

/* "1 row, ", "2 rows, " */
static void print_count(const json_t *summary, const char *key, const char *one, const char *many, const char *behind)
{
    long long count = number_of(summary, key);
    printf("%lld %s%s", count, count == 1 ? one : many, behind);
}

static void print_summary(const json_t *summary, const char *home, double seconds)
{
    printf("Log %s in %s\n  ", json_string_value(json_object_get(summary, "origin")), home);
    print_count(summary, "rows", "row", "rows", ", ");
    print_count(summary, "leaves", "leaf", "leaves", ", ");
    print_count(summary, "events", "event", "events", ", ");
    print_count(summary, "bytes", "byte of events", "bytes of events", "\n  ");
    print_count(summary, "signatures", "seal signature checked", "seal signatures checked", ", ");
    print_count(summary, "checkpoints", "checkpoint compared", "checkpoints compared", ", ");
    print_count(summary, "erased", "content erased", "contents erased", "\n");
    printf("  every decision replayed: %s; state on disk: %s\n",
           json_is_true(json_object_get(summary, "decisions_replayed")) ? "yes" : "NO, see below",
           !json_is_true(json_object_get(summary, "state_compared")) ? "not compared"
           : json_is_true(json_object_get(summary, "state_equal"))   ? "equal byte for byte"
                                                                     : "DIFFERS, see below");
    printf("  root of the tree %s\n", json_string_value(json_object_get(summary, "root")));
    printf("  %.1f s, %.0f events/s\n", seconds, seconds > 0 ? (double)number_of(summary, "events") / seconds : 0);
}

static void print_result(const struct verifying *verifying, const char *home)
{
    static const struct admin_column columns[] = {{"row", "ROW", ADMIN_COLUMN_TEXT},
                                                  {"leaf", "LEAF", ADMIN_COLUMN_TEXT},
                                                  {"sequence", "SEQUENCE", ADMIN_COLUMN_TEXT},
                                                  {"agency", "AGENCY", ADMIN_COLUMN_TEXT},
                                                  {"what", "WHAT IS WRONG", ADMIN_COLUMN_TEXT},
                                                  {NULL, NULL, ADMIN_COLUMN_TEXT}};
    double seconds = (double)(monotonic_us() - verifying->begun_us) / 1e6;
    size_t found = json_array_size(verifying->findings);
    json_t *summary = verifying->summary;
    if (verifying->call->json) {
        json_t *row = json_pack("{s:b, s:f, s:O, s:O?}", "ok", found == 0, "seconds", seconds, "findings",
                                verifying->findings, "summary", summary);
        admin_must(row != NULL);
        admin_record_print(verifying->call, columns, row);
        json_decref(row);
        return;
    }
    if (summary != NULL) {
        print_summary(summary, home, seconds);
    }
    if (found == 0) {
        puts("The log is whole: every entry is as it was sealed, in its place, and decided by the rules.");
        return;
    }
    printf("\n%zu FINDINGS\n", found);
    json_t *shown = json_array();
    admin_must(shown != NULL);
    for (size_t i = 0; i < found && i < SHOWN_MAX; i++) {
        admin_must(json_array_append(shown, json_array_get(verifying->findings, i)) == 0);
    }
    admin_table_print(verifying->call, columns, shown, "");
    json_decref(shown);
    if (found > SHOWN_MAX) {
        printf("... and %zu more (--json shows all)\n", found - SHOWN_MAX);
    }
}

static enum admin_exit run_child(struct verifying *verifying, const struct verify_options *options)
{
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return admin_fail(verifying->call, ADMIN_NO, "no pipe: %s", strerror(errno));
    }
    (void)fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return admin_fail(verifying->call, ADMIN_NO, "no process: %s", strerror(errno));
    }
    if (child == 0) {
        close(ends[0]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* without the parent nobody reads what is found */
        FILE *out = fdopen(ends[1], "w");
        _exit(out == NULL ? ADMIN_NO : (int)verify_child(options, verifying->progress, out));
    }
    close(ends[1]);
    collect(verifying, ends[0]);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    draw(verifying);
    if (verifying->bar) {
        fputc('\n', stderr);
    }
    /* Without its summary the child did not come to its end, whatever it says. */
    if (!WIFEXITED(status) || verifying->summary == NULL) {
        find_crash(verifying, status);
    }
    print_result(verifying, options->home);
    size_t found = json_array_size(verifying->findings);
    if (found == 0 && WIFEXITED(status) && WEXITSTATUS(status) == ADMIN_OK) {
        return ADMIN_OK;
    }
    (void)fflush(stdout); /* in this order where both are one terminal */
    return admin_fail(verifying->call, ADMIN_DAMAGED,
                      "%zu finding%s, told on the standard output. Keep a copy of the home as it is before anything is "
                      "repaired",
                      found, found == 1 ? "" : "s");
}

static enum admin_exit read_note_file(const struct admin_call *call, struct truc_buffer *note)
{
    const char *path = admin_text(call, "checkpoint");
    if (path == NULL) {
        return ADMIN_OK;
    }
    truc_error error = truc_file_read(path, TRUC_NOTE_MAX, note);
    return error == TRUC_OK ? ADMIN_OK
                            : admin_fail(call, ADMIN_USAGE, "the checkpoint %s cannot be read: %s", path,
                                         error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
}

static enum admin_exit read_note_key(const struct hub_home *home, const struct admin_call *call,
                                     struct truc_buffer *key)
{
    char *path = hub_home_file(home->path, "hub/note.key");
    admin_must(path != NULL);
    const char *given = admin_text(call, "note-key");
    truc_error error = truc_file_read(given == NULL ? path : given, TRUC_NOTE_MAX, key);
    if (error != TRUC_OK && given != NULL) { /* the key itself */
        truc_buffer_clear(key);
        error = truc_buffer_append(key, given, strlen(given));
    }
    free(path);
    while (key->size > 0 && key->data[key->size - 1] == '\n') {
        key->size--;
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(key, "", 1);
    }
    return error == TRUC_OK ? ADMIN_OK
                            : admin_fail(call, ADMIN_USAGE, "the note key hub/note.key of the home cannot be read: %s",
                                         truc_error_string(error));
}

static enum admin_exit run_verify(struct admin_call *call)
{
    struct hub_home home = {0};
    struct truc_buffer why = {0}, note = {0}, note_key = {0};
    struct verifying verifying = {.call = call,
                                  .begun_us = monotonic_us(),
                                  .bar = isatty(STDERR_FILENO) && !call->json,
                                  .progress = mmap(NULL, sizeof(struct verify_progress), PROT_READ | PROT_WRITE,
                                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t workers = admin_number(call, "workers", cores < 1 ? 1 : (uint64_t)cores);
    enum admin_exit exit_code = ADMIN_OK;
    admin_must(verifying.progress != MAP_FAILED);
    verifying.findings = json_array();
    if (workers == 0 || workers > VERIFY_WORKERS_MAX) {
        exit_code = admin_fail(call, ADMIN_USAGE, "--workers: 1 to %d", VERIFY_WORKERS_MAX);
    } else if (hub_home_open(admin_text(call, "home"), &home, &why) != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_USAGE, "%s is not a hub's home that can be read", admin_text(call, "home"));
        fwrite(why.data, 1, why.size, stderr);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = read_note_file(call, &note);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = read_note_key(&home, call, &note_key);
    }
    if (exit_code == ADMIN_OK) {
        const struct verify_options options = {.home = home.path,
                                               .settings = &home.settings,
                                               .note = truc_buffer_view(&note),
                                               .note_key = (const char *)note_key.data,
                                               .workers = (unsigned)workers};
        exit_code = run_child(&verifying, &options);
    }
    hub_home_close(&home);
    truc_buffer_close(&why);
    truc_buffer_close(&note);
    truc_buffer_close(&note_key);
    truc_buffer_close(&verifying.line);
    json_decref(verifying.findings);
    json_decref(verifying.summary);
    munmap(verifying.progress, sizeof(*verifying.progress));
    return exit_code;
}

static const struct admin_option verify_options[] = {
    ADMIN_HOME_OPTION,
    {"checkpoint", ADMIN_TEXT, "FILE", "a checkpoint that somebody kept: the log must be its continuation", false},
    {"note-key", ADMIN_TEXT, "FILE|TEXT", "the note key from a source that you trust (default: the home's)", false},
    {"workers", ADMIN_NUMBER, "N", "threads (default: all cores)", false},
    ADMIN_END};

const struct admin_command admin_verify_commands[] = {
    {"log verify", "", 0, 0, "check the whole log from entry 0: seals, contents, decisions, tree, checkpoints",
     verify_options, run_verify},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
