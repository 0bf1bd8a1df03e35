/* Subscriptions that the hub has not settled yet: kept in the store, asked for on every new link, gone when they are
 * durable at the hub. */
#include "adapters/client/session_internal.h"

static void free_wish(struct wish *wish)
{
    free(wish->type);
    free(wish->source_agency);
    free(wish);
}

void session_wishes_close(struct client_session *s)
{
    while (s->wishes != NULL) {
        struct wish *wish = s->wishes;
        s->wishes = wish->next;
        free_wish(wish);
    }
}

static truc_error append(struct client_session *s, uint64_t key, const char *type, const char *source_agency,
                         bool remove)
{
    struct wish *wish = calloc(1, sizeof *wish), **end = &s->wishes;
    if (wish == NULL) {
        return TRUC_E_NOMEM;
    }
    wish->key = key;
    wish->remove = remove;
    wish->type = strdup(type);
    wish->source_agency = strdup(source_agency);
    if (wish->type == NULL || wish->source_agency == NULL) {
        free_wish(wish);
        return TRUC_E_NOMEM;
    }
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = wish;
    return TRUC_OK;
}

/* Whether the last wish for the same thing is this one: an application asks at each start, and need not know that it is
 * under way already. */
static bool is_under_way(const struct client_session *s, const char *type, const char *source_agency, bool remove)
{
    const struct wish *last = NULL;
    for (const struct wish *wish = s->wishes; wish != NULL; wish = wish->next) {
        if (strcmp(wish->type, type) == 0 && strcmp(wish->source_agency, source_agency) == 0) {
            last = wish;
        }
    }
    return last != NULL && last->remove == remove;
}

truc_error client_session_subscribe(struct client_session *s, const char *type, const char *source_agency, bool remove)
{
    const char *source = source_agency != NULL ? source_agency : "";
    if (!truc_type_pattern_is_valid(truc_bytes_of(type)) ||
        (source[0] != '\0' && !truc_agency_is_valid(truc_bytes_of(source)))) {
        return TRUC_E_INVALID;
    }
    if (is_under_way(s, type, source, remove)) {
        return TRUC_OK;
    }
    struct truc_buffer row = {0};
    const uint8_t verb = remove;
    truc_error error = truc_buffer_append(&row, type, strlen(type) + 1);
    if (error == TRUC_OK) {
        error = truc_buffer_append(&row, source, strlen(source));
    }
    if (error == TRUC_OK) {
        error =
            s->store.put(s->store.context, STORE_WISHES, s->next_wish, truc_bytes(&verb, 1), truc_buffer_view(&row));
    }
    if (error == TRUC_OK) {
        error = append(s, s->next_wish, type, source, remove);
    }
    truc_buffer_close(&row);
    s->next_wish += error == TRUC_OK;
    s->due = true;
    return error;
}

uint32_t client_session_pending_subscriptions(const struct client_session *s)
{
    uint32_t count = 0;
    for (const struct wish *wish = s->wishes; wish != NULL; wish = wish->next) {
        count++;
    }
    return count;
}

truc_error session_load_wishes(struct client_session *s)
{
    char source[TRUC_AGENCY_MAX + 1];
    struct truc_bytes row;
    truc_error error;
    while ((error = s->store.next(s->store.context, STORE_WISHES, &s->next_wish, &row)) == TRUC_OK) {
        const uint8_t *zero = row.size > 0 ? memchr(row.data + 1, '\0', row.size - 1) : NULL;
        size_t type_size = zero != NULL ? (size_t)(zero - row.data) - 1 : 0;
        size_t source_size = zero != NULL ? row.size - type_size - 2 : 0;
        if (type_size == 0 || source_size >= sizeof source || row.data[0] > 1 || s->next_wish == UINT64_MAX) {
            return TRUC_E_CORRUPT;
        }
        memcpy(source, zero + 1, source_size);
        source[source_size] = '\0';
        error = append(s, s->next_wish, (const char *)row.data + 1, source, row.data[0] != 0);
        if (error != TRUC_OK) {
            return error;
        }
        s->next_wish++;
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

truc_error session_send_wishes(struct client_session *s)
{
    for (struct wish *wish = s->wishes; wish != NULL; wish = wish->next) {
        if (!wish->asked) {
            Truc__V1__Subscribe message = TRUC__V1__SUBSCRIBE__INIT;
            message.type = wish->type;
            message.source_agency = wish->source_agency;
            message.remove = wish->remove;
            wish->asked = true;
            truc_error error = session_push(s, TRUC_FRAME_SUBSCRIBE, &message.base, NULL);
            if (error != TRUC_OK) {
                return error;
            }
        }
    }
    return TRUC_OK;
}

void session_unsend_wishes(struct client_session *s)
{
    for (struct wish *wish = s->wishes; wish != NULL; wish = wish->next) {
        wish->asked = false;
    }
}

/* The hub answers in the order in which it was asked. A refused one (the agency has as many as it may) would be refused
 * again and again: it ends here, with a line. */
truc_error session_on_subscribed(struct client_session *s, const char *type, bool refused)
{
    for (struct wish **at = &s->wishes; *at != NULL; at = &(*at)->next) {
        struct wish *wish = *at;
        if (wish->asked && strcmp(wish->type, type) == 0) {
            if (refused) {
                char quoted[200];
                truc_log(TRUC_LOG_ERROR, "subscription_refused", "agency=%s type=%s why=\"too many subscriptions\"",
                         s->agency, truc_log_quote(truc_bytes_of(type), quoted, sizeof quoted));
            }
            truc_error error = s->store.drop(s->store.context, STORE_WISHES, wish->key, wish->key);
            *at = wish->next;
            free_wish(wish);
            return error;
        }
    }
    return TRUC_OK;
}
