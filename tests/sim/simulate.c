/* Runs seeds, each in a process of its own, two at a time; tells each hundred as one test (TAP). */
#include "tests/sim/world.h"

#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GROUP 100
#define ENOUGH 1000
#define JOBS_MAX 64
#define FAILURES_SHOWN 5
#define SEED_SECONDS 120 /* of CPU: a seed that runs away is a failure too */

static const char usage[] = "usage: simulate [--seeds N] [--first S] [--seconds T] [--jobs J] [--stop]\n"
                            "       simulate --seed S [--seconds T] [--quiet]   one seed, with its trace\n"
                            "  --seconds  virtual seconds of trouble in each seed (default 10)\n"
                            "  --stop     ends at the first failure, quietly (for tests of the simulator)\n";

static int64_t seconds = 10;
static _Atomic uint64_t *totals; /* of all seeds: shared with the children; NULL for one seed */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void make_run_folder(char out[128])
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    snprintf(out, 128, "%s/truc-sim-XXXXXX", base);
    if (!mkdtemp(out))
        abort();
}

static int run_seed(uint64_t seed, const char *folder, bool tell)
{
    struct world_plan plan;

    world_plan_draw(&plan, seed, seconds);
    world_open(&plan, folder);
    bool good = world_run();
    if (!good) {
        char path[160];
        snprintf(path, sizeof path, "%s/why", folder);
        FILE *file = fopen(path, "we");
        if (file) {
            fprintf(file, "%s\n", sim_failure());
            fclose(file);
        }
    }
    world.counts[DID_STEP] = sim_steps();
    if (totals)
        for (size_t i = 0; i < DID_COUNT; i++)
            atomic_fetch_add(&totals[i], world.counts[i]);
    if (tell || !good) {
        fprintf(stderr, "seed %llu: %s%s\n", (unsigned long long)seed,
                good ? "good" : "FAILED: ", good ? "" : sim_failure());
        for (size_t i = 0; i < DID_COUNT; i++)
            fprintf(stderr, "%s%s %llu",
                    i % 9 ? ", "
                    : i   ? "\n  "
                          : "  ",
                    did_names[i], (unsigned long long)world.counts[i]);
        fprintf(stderr, "; %.1f virtual seconds\n", (double)(sim_now() - 3600 * SIM_SECOND) / 1e6);
    }
    return good ? 0 : 1;
}

/* ---- many ---- */

struct job {
    pid_t pid;
    uint64_t seed;
    char folder[128];
};

static struct job jobs[JOBS_MAX];
static size_t job_count = 2;

static void start(struct job *job, uint64_t seed)
{
    job->seed = seed;
    make_run_folder(job->folder);
    fflush(NULL);
    job->pid = fork();
    if (job->pid < 0)
        abort();
    if (job->pid == 0) {
        alarm(SEED_SECONDS);
        if (!freopen("/dev/null", "w", stderr))
            _exit(3);
        _exit(run_seed(seed, job->folder, false));
    }
}

/* What the seed's process left behind; borrowed until the next call. */
static const char *why_of(const char *folder)
{
    static char text[400];
    char path[160];

    snprintf(path, sizeof path, "%s/why", folder);
    FILE *file = fopen(path, "re");
    if (!file || !fgets(text, sizeof text, file))
        snprintf(text, sizeof text, "its process ended before its time");
    if (file)
        fclose(file);
    text[strcspn(text, "\n")] = '\0';
    return text;
}

#define SHOWN_LINES 60

/* The end of what a program prints; false: it could not be run. */
static bool show_end(char *const argv[])
{
    char lines[SHOWN_LINES][224];
    int ends[2];
    size_t count = 0;

    if (pipe(ends) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        execv(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    FILE *file = pid < 0 ? NULL : fdopen(ends[0], "r");
    if (!file)
        close(ends[0]);
    while (file && fgets(lines[count % SHOWN_LINES], sizeof lines[0], file))
        count++;
    if (file)
        fclose(file);
    for (size_t i = count < SHOWN_LINES ? 0 : count - SHOWN_LINES; i < count; i++) {
        const char *line = lines[i % SHOWN_LINES];
        fprintf(stdout, "%s%s", line, line[strcspn(line, "\n")] ? "" : "\n");
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid && count > 0;
}

/* The seed again, with its trace; the end of that is what people want to see. */
static void show(char *program, uint64_t seed)
{
    char number[24], limit[24], seed_option[] = "--seed", seconds_option[] = "--seconds";
    char *argv[] = {program, seed_option, number, seconds_option, limit, NULL};

    snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    snprintf(limit, sizeof limit, "%lld", (long long)seconds);
    fprintf(stdout, "# seed %llu failed; the end of its trace (the whole: make sim SEED=%llu SECONDS=%lld)\n",
            (unsigned long long)seed, (unsigned long long)seed, (long long)seconds);
    fflush(stdout);
    if (!show_end(argv))
        fprintf(stdout, "# (it cannot be shown)\n");
}

/* Over that many seeds every kind of thing must have happened: a simulator in which nothing happens finds nothing. */
static bool tell_totals(bool judge, uint64_t groups)
{
    bool idle = false;

    for (size_t i = 0; i < DID_COUNT; i++) {
        fprintf(stdout, "%s%s %llu",
                i % 9 ? ", "
                : i   ? "\n#   "
                      : "#   ",
                did_names[i], (unsigned long long)atomic_load(&totals[i]));
        idle = idle || atomic_load(&totals[i]) == 0;
    }
    fprintf(stdout, "\n");
    if (judge)
        fprintf(stdout, "%s %llu - everything happened that can happen\n", idle ? "not ok" : "ok",
                (unsigned long long)groups + 1);
    return judge && idle;
}

static int run_many(char *program, uint64_t first, uint64_t count, bool stop)
{
    uint64_t next = first, done = 0, failed = 0, group_failed[4096] = {0}, group_done[4096] = {0};
    uint64_t groups = (count + GROUP - 1) / GROUP, told = 0;
    size_t running = 0;

    totals = mmap(NULL, DID_COUNT * sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED)
        abort();
    fprintf(stdout, "1..%llu\n", (unsigned long long)groups + (count >= ENOUGH && !stop));
    while (done < count && !(stop && failed)) {
        while (running < job_count && next < first + count) {
            size_t at = 0;
            while (jobs[at].pid)
                at++;
            start(&jobs[at], next++);
            running++;
        }
        int status;
        pid_t pid = wait(&status);
        for (size_t i = 0; i < JOBS_MAX; i++) {
            if (jobs[i].pid != pid)
                continue;
            uint64_t group = (jobs[i].seed - first) / GROUP % 4096;
            bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
            done++;
            group_done[group]++;
            group_failed[group] += !good;
            if (!good && failed++ < FAILURES_SHOWN && !stop)
                show(program, jobs[i].seed);
            if (!good && stop && failed == 1)
                fprintf(stdout, "# seed %llu failed, %s\n", (unsigned long long)jobs[i].seed, why_of(jobs[i].folder));
            nftw(jobs[i].folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
            jobs[i].pid = 0;
            running--;
        }
        while (told < groups &&
               group_done[told % 4096] == (told + 1 == groups && count % GROUP ? count % GROUP : (uint64_t)GROUP)) {
            fprintf(stdout, "%s %llu - seeds %llu to %llu\n", group_failed[told % 4096] ? "not ok" : "ok",
                    (unsigned long long)told + 1, (unsigned long long)(first + told * GROUP),
                    (unsigned long long)(first + (told + 1) * GROUP - 1));
            fflush(stdout);
            told++;
        }
    }
    while (running > 0) {
        int status;
        pid_t pid = wait(&status);
        for (size_t i = 0; i < JOBS_MAX; i++)
            if (jobs[i].pid == pid) {
                nftw(jobs[i].folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
                jobs[i].pid = 0;
                running--;
            }
    }
    bool idle = tell_totals(count >= ENOUGH && !stop, groups);
    fprintf(stdout, "# %llu seeds, %llu failed\n", (unsigned long long)done, (unsigned long long)failed);
    return failed || idle ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'},   {"first", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 't'}, {"jobs", required_argument, NULL, 'j'},
        {"seed", required_argument, NULL, 's'},    {"stop", no_argument, NULL, 'x'},
        {"quiet", no_argument, NULL, 'q'},         {NULL, 0, NULL, 0}};
    uint64_t seeds = 2000, first = 1, seed = 0;
    bool one = false, stop = false, quiet = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'n':
            seeds = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            first = strtoull(optarg, NULL, 10);
            break;
        case 't':
            seconds = strtoll(optarg, NULL, 10);
            break;
        case 'j':
            job_count = strtoull(optarg, NULL, 10);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            one = true;
            break;
        case 'x':
            stop = true;
            break;
        case 'q':
            quiet = true;
            break;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind != argc || job_count == 0 || job_count > JOBS_MAX || seconds < 1 || seeds == 0) {
        fputs(usage, stderr);
        return 2;
    }
    /* The suites: fewer where everything takes ten times as long, and there is one thread, with fibers of which
     * ThreadSanitizer knows nothing. */
    const char *sanitizer = getenv("TRUC_SANITIZER");
    if (sanitizer && strcmp(sanitizer, "tsan") == 0) {
        fprintf(stdout, "1..1\nok 1 - the simulator # SKIP one thread\n");
        return 0;
    }
    if (sanitizer && argc == 1)
        seeds = 200;
    sim_keys_make();
    if (!one)
        return run_many(argv[0], first, seeds, stop);
    char folder[128];
    make_run_folder(folder);
    sim_tracing = !quiet;
    int code = run_seed(seed, folder, true);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    fflush(NULL);
    _exit(code); /* the dead left their memory behind, on purpose */
}
