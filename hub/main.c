#include "hub/hub.h"

#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

static const char usage[] =
    "usage: truc-hub --home DIR [--check-config]\n"
    "\n"
    "Runs the hub whose home `truc init` made. Prints \"ready endpoint=...\" when it serves.\n"
    "  --check-config   reads hub.yaml and the keys, says what is wrong, and exits\n"
    "Exit codes: 0 stopped in order, 1 failed while running, 2 wrong usage or configuration, 3 cannot start\n";

static int check_config(const char *home)
{
    struct hub_home opened = {0};
    struct truc_buffer why = {0};
    truc_error error = hub_home_open(home, &opened, &why);

    if (error)
        fprintf(stderr, "%.*s", (int)why.size, why.data ? (const char *)why.data : "");
    else
        printf("%s: ok\n", home);
    hub_home_close(&opened);
    truc_buffer_close(&why);
    return error ? 2 : 0;
}

static int serve(const char *home)
{
    struct hub *hub = malloc(sizeof *hub);
    struct truc_buffer why = {0};
    int exit_code;

    if (!hub)
        return 3;
    truc_error error = hub_open(hub, home, &why);
    if (error) {
        fprintf(stderr, "truc-hub: cannot start: %s\n%.*s", truc_error_string(error), (int)why.size,
                why.data ? (const char *)why.data : "");
        if (error == TRUC_E_CORRUPT)
            fprintf(stderr,
                    "`truc log verify --home %s` says what is whole. The journal is the log: never delete it, restore "
                    "it from a copy (hub/STORAGE.md, \"Damage and restoring\")\n",
                    home);
        hub->fatal = true;
        exit_code = error == TRUC_E_CONFIG ? 2 : 3;
    } else {
        exit_code = hub_run(hub);
    }
    hub_close(hub);
    free(hub);
    truc_buffer_close(&why);
    return exit_code;
}

/* A connection costs a descriptor: the soft limit is no use to us. What the limit then allows, hub_open says. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        truc_log(TRUC_LOG_WARN, "descriptors", "what=\"the limit of open files cannot be raised\" errno=%d", errno);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"home", required_argument, NULL, 'h'},
                                            {"check-config", no_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, '?'},
                                            {NULL, 0, NULL, 0}};
    const char *home = NULL;
    bool check = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h')
            home = optarg;
        else if (option == 'c')
            check = true;
        else {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (!home || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    return check ? check_config(home) : serve(home);
}
