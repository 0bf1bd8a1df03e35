/* ZAP (RFC 27): libzmq asks at every CURVE handshake whether the client's key may come in. Without this handler bound,
 * CURVE would admit everybody: it is bound before any endpoint. The user id that it gives is the key, so that every
 * message names the key that authenticated it. */
#include "hub/net/socket_internal.h"

#define ZAP_FRAMES_MAX 12

static void reply(struct hub_socket *socket, const zmq_msg_t *request_id, bool admitted, const char *user)
{
    const char *code = admitted ? "200" : "400", *text = admitted ? "OK" : "key not enrolled";

    zmq_send(socket->zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(socket->zap, zmq_msg_data((zmq_msg_t *)request_id), zmq_msg_size(request_id), ZMQ_SNDMORE);
    zmq_send(socket->zap, code, 3, ZMQ_SNDMORE);
    zmq_send(socket->zap, text, strlen(text), ZMQ_SNDMORE);
    zmq_send(socket->zap, user, strlen(user), ZMQ_SNDMORE);
    zmq_send(socket->zap, "", 0, 0);
}

/* version, request id, domain, address, identity, mechanism, then the client's 32-byte key */
static void answer(struct hub_socket *socket, zmq_msg_t *frames, size_t count)
{
    char user[65] = "";
    bool admitted = false;

    if (count >= 7 && zmq_msg_size(&frames[5]) == 5 && memcmp(zmq_msg_data(&frames[5]), "CURVE", 5) == 0 &&
        zmq_msg_size(&frames[6]) == 32) {
        const uint8_t *key = zmq_msg_data(&frames[6]);
        admitted = !socket->paused && socket->events.may_connect(socket->events.context, key);
        truc_hex(truc_bytes(key, 32), user);
    }
    reply(socket, &frames[1], admitted, admitted ? user : "");
}

void hub_zap_process(struct hub_socket *socket)
{
    for (;;) {
        zmq_msg_t frames[ZAP_FRAMES_MAX];
        size_t count = 0;
        int more = 1;
        while (more && count < ZAP_FRAMES_MAX) {
            zmq_msg_init(&frames[count]);
            if (zmq_msg_recv(&frames[count], socket->zap, ZMQ_DONTWAIT) < 0) {
                zmq_msg_close(&frames[count]);
                break;
            }
            more = zmq_msg_more(&frames[count++]);
        }
        if (count >= 2)
            answer(socket, frames, count);
        for (size_t i = 0; i < count; i++)
            zmq_msg_close(&frames[i]);
        if (count == 0)
            return;
    }
}

truc_error hub_zap_bind(struct hub_socket *socket)
{
    socket->zap = zmq_socket(socket->context, ZMQ_REP);
    if (!socket->zap || zmq_bind(socket->zap, "inproc://zeromq.zap.01") != 0)
        return TRUC_E_IO;
    return TRUC_OK;
}
