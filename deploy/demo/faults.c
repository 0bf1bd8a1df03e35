/* What must not get through. Each is sent once, by the one-stop desk, and comes back with its reason. */
#include "deploy/demo/agency.h"

#include "dossier.pb-c.h"
#include "land.pb-c.h"

#define SUBMITTED "vn.truc.dossier.submitted.v1"
#define FAULT_CODE "H14.09-20260609-0000123"
#define FAULT_TIME_US 1780970400000000 /* 2026-06-09T02:00:00Z */

static truc_error send_dossier(struct demo_agency *agency, const char *id, const char *recipients, const char *code,
                               const char *summary, bool expired)
{
    Truc__Dossier__V1__Submitted submitted = TRUC__DOSSIER__V1__SUBMITTED__INIT;
    Truc__Dossier__V1__Dossier dossier = TRUC__DOSSIER__V1__DOSSIER__INIT;
    dossier.code = (char *)(uintptr_t)code;
    submitted.dossier = &dossier;
    submitted.submitted_at_us = FAULT_TIME_US;
    submitted.channel = TRUC__DOSSIER__V1__CHANNEL__CHANNEL_ONLINE;
    submitted.summary = (char *)(uintptr_t)summary;
    const struct import_draft draft = {.id = truc_bytes_of(id),
                                       .type = truc_bytes_of(SUBMITTED),
                                       .subject = truc_bytes_of(FAULT_CODE),
                                       .recipients = truc_bytes_of(recipients),
                                       .has_time = true,
                                       .time_us = FAULT_TIME_US,
                                       .has_expires = expired,
                                       .expires_us = FAULT_TIME_US + 1000000};
    return demo_queue(agency, "faults", &draft, &submitted.base, NULL);
}

/* Only the land office issues certificates. */
static truc_error send_foreign_right(struct demo_agency *agency)
{
    Truc__Land__V1__CertificateIssued issued = TRUC__LAND__V1__CERTIFICATE_ISSUED__INIT;
    issued.parcel = (char *)(uintptr_t) "00000000AA0001";
    issued.certificate_number = (char *)(uintptr_t) "AA 00000001";
    issued.issued_at_us = FAULT_TIME_US;
    const struct import_draft draft = {.id = truc_bytes_of("fault/not-granted"),
                                       .type = truc_bytes_of("vn.truc.land.certificate-issued.v1"),
                                       .subject = truc_bytes_of(FAULT_CODE),
                                       .recipients = truc_bytes_of(DEMO_LAND)};
    return demo_queue(agency, "faults", &draft, &issued.base, NULL);
}

truc_error demo_faults_send(struct demo_agency *agency)
{
    const char *to = DEMO_CONSTRUCTION;
    truc_error error = send_dossier(agency, "fault/twice", to, FAULT_CODE, "first", false);
    error = error != TRUC_OK ? error : send_dossier(agency, "fault/twice", to, FAULT_CODE, "first", false);
    error = error != TRUC_OK ? error : send_dossier(agency, "fault/twice", to, FAULT_CODE, "other bytes", false);
    error = error != TRUC_OK ? error : send_dossier(agency, "fault/expired", to, FAULT_CODE, "", true);
    error = error != TRUC_OK ? error : send_dossier(agency, "fault/no-code", to, "", "", false);
    error = error != TRUC_OK ? error : send_dossier(agency, "fault/nobody", "H14.99", FAULT_CODE, "", false);
    return error != TRUC_OK ? error : send_foreign_right(agency);
}
