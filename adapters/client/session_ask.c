/* Questions to the hub: queries and proofs. Each is asked again on every new link until it is answered. */
#include "adapters/client/session_internal.h"

#define ARGUMENTS_MAX 16

struct ask *session_ask_new(struct client_session *s, enum ask_kind kind)
{
    struct ask *ask = calloc(1, sizeof *ask);
    if (ask != NULL) {
        ask->kind = kind;
        *s->asks_end = ask;
        s->asks_end = &ask->next;
        s->due = true;
    }
    return ask;
}

void session_ask_free(struct ask **ask_)
{
    struct ask *ask = *ask_;
    *ask_ = NULL;
    if (ask == NULL) {
        return;
    }
    for (size_t i = 0; i < ask->argument_count; i++) {
        free(ask->arguments[i]);
    }
    if (ask->evidence != NULL) {
        truc_evidence_close(ask->evidence);
        free(ask->evidence);
    }
    free(ask->arguments);
    free(ask->what);
    free(ask->cursor);
    free(ask);
}

void session_ask_unlink(struct client_session *s, const struct ask *ask)
{
    for (struct ask **at = &s->asks; *at != NULL; at = &(*at)->next) {
        if (*at == ask) {
            *at = ask->next;
            if (*at == NULL) {
                s->asks_end = at;
            }
            return;
        }
    }
}

static truc_error send_query(struct client_session *s, struct ask *ask)
{
    Truc__V1__Query__ArgumentsEntry entries[ARGUMENTS_MAX], *list[ARGUMENTS_MAX];
    Truc__V1__Query query = TRUC__V1__QUERY__INIT;
    char empty[] = "", keys[] = "keys", agency[] = "agency";
    query.request = ask->request;
    query.what = ask->kind == ASK_KEYS ? keys : ask->what;
    query.cursor = ask->cursor != NULL ? ask->cursor : empty;
    query.arguments = list;
    for (size_t i = 0; i + 1 < ask->argument_count; i += 2) {
        truc__v1__query__arguments_entry__init(&entries[i / 2]);
        entries[i / 2].key = ask->arguments[i];
        entries[i / 2].value = ask->arguments[i + 1];
        list[query.n_arguments] = &entries[i / 2];
        query.n_arguments++;
    }
    if (ask->kind == ASK_KEYS) {
        truc__v1__query__arguments_entry__init(&entries[0]);
        entries[0].key = agency;
        entries[0].value = ask->agency;
        list[0] = &entries[0];
        query.n_arguments = 1;
    }
    return session_push(s, TRUC_FRAME_QUERY, &query.base, NULL);
}

static truc_error send_proof(struct client_session *s, const struct ask *ask)
{
    Truc__V1__GetProof message = TRUC__V1__GET_PROOF__INIT;
    message.request = ask->request;
    message.sequence = ask->sequence;
    return session_push(s, TRUC_FRAME_GET_PROOF, &message.base, NULL);
}

truc_error session_ask_all(struct client_session *s)
{
    for (struct ask *ask = s->asks; ask != NULL; ask = ask->next) {
        if (!ask->asked) {
            ask->asked = true;
            ask->request = ++s->next_request;
            truc_error error = ask->kind == ASK_PROOF ? send_proof(s, ask) : send_query(s, ask);
            if (error != TRUC_OK) {
                return error;
            }
        }
    }
    return session_send_wishes(s);
}

void session_unask(struct client_session *s)
{
    for (struct ask *ask = s->asks; ask != NULL; ask = ask->next) {
        ask->asked = false;
    }
    session_unsend_wishes(s);
}

void session_ask_close(struct client_session *s)
{
    while (s->asks != NULL) {
        struct ask *ask = s->asks;
        s->asks = ask->next;
        session_ask_free(&ask);
    }
    session_wishes_close(s);
}

/* Names and values of a NULL-terminated list. */
static truc_error copy_arguments(struct ask *ask, const char *const *arguments)
{
    size_t count = 0;
    while (arguments != NULL && arguments[count] != NULL) {
        count++;
    }
    if (count % 2 != 0 || count > 2 * ARGUMENTS_MAX) {
        return TRUC_E_INVALID;
    }
    ask->arguments = calloc(count + 1, sizeof *ask->arguments);
    if (ask->arguments == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        ask->arguments[i] = strdup(arguments[i]);
        if (ask->arguments[i] == NULL) {
            return TRUC_E_NOMEM;
        }
        ask->argument_count++;
    }
    return TRUC_OK;
}

truc_error client_session_query(struct client_session *s, const char *what, const char *const *arguments,
                                truc_answer_fn on_answer, void *context)
{
    struct ask *ask = session_ask_new(s, ASK_QUERY);
    if (ask == NULL) {
        return TRUC_E_NOMEM;
    }
    ask->on_answer = on_answer;
    ask->context = context;
    ask->what = strdup(what);
    truc_error error = ask->what == NULL ? TRUC_E_NOMEM : copy_arguments(ask, arguments);
    if (error != TRUC_OK) {
        session_ask_unlink(s, ask);
        session_ask_free(&ask);
    }
    return error;
}

struct ask *session_ask_find(struct client_session *s, uint64_t request, bool proof)
{
    for (struct ask *ask = s->asks; ask != NULL; ask = ask->next) {
        if (ask->asked && ask->request == request && (ask->kind == ASK_PROOF) == proof) {
            return ask;
        }
    }
    return NULL;
}

/* The last page is in: what waited for these keys goes on, with them or without. */
static truc_error keys_are_in(struct client_session *s, const char *agency)
{
    (void)snprintf(s->answered[s->answered_count % ANSWERED_MAX], sizeof s->answered[0], "%s", agency);
    s->answered_count++;
    truc_error error = session_resume_held(s);
    return error == TRUC_OK ? session_retry_proofs(s) : error;
}

truc_error session_on_answer(struct client_session *s, const Truc__V1__Answer *answer, struct truc_bytes body)
{
    struct ask *ask = session_ask_find(s, answer->request, false);
    if (ask == NULL) {
        return TRUC_OK;
    }
    truc_error error = TRUC_OK;
    bool last = answer->reason != 0 || answer->cursor[0] == '\0';
    if (last) {
        session_ask_unlink(s, ask);
    } else {
        char *cursor = strdup(answer->cursor);
        if (cursor == NULL) {
            return TRUC_E_NOMEM;
        }
        free(ask->cursor);
        ask->cursor = cursor;
        ask->asked = false;
    }
    if (ask->kind == ASK_KEYS) {
        error = answer->reason == 0 ? session_on_keys(s, body) : TRUC_OK;
        if (error == TRUC_OK && last) {
            error = keys_are_in(s, ask->agency);
        }
    } else {
        ask->on_answer(ask->context, (truc_reason)answer->reason, answer->text, body, last);
    }
    if (last) {
        session_ask_free(&ask);
    }
    return error;
}
