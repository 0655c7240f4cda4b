/* A simulated device: who it is, and what it keeps between runs (one file per device). */
#ifndef TD_SIM_DEVICE_H
#define TD_SIM_DEVICE_H

#include "mdm/base/arena.h"
#include "tests/sim/pki.h"
#include "tests/sim/posture.h"

enum { DEVICE_SERIAL_MAX = 64, DEVICE_PROFILES = 32, DEVICE_IDENTITIES = 8 };

struct device_profile {
    char identifier[160], uuid[64], name[160];
};

/* An identity beside the management one, of the profile with that identifier. */
struct device_identity {
    char identifier[160];
    char *pem; /* key and certificate; owned */
};

struct device {
    /* made from the serial number, the same in every run */
    char serial[DEVICE_SERIAL_MAX + 1];
    char udid[40], provisioning_udid[40]; /* equal but on Macs */
    char name[96];
    const char *product, *model_name, *model, *sw_update_id;
    bool mac;
    /* a device in order at first; kept between runs */
    struct posture posture;
    /* got by enrolling */
    EVP_PKEY *key;
    X509 *cert;
    char *server_url, *checkin_url, *topic, *profile_identifier, *profile_uuid, *profile_name;
    struct buf root_der;
    bool sign_message, checkout_when_removed;
    bool removed;                                    /* the enrolment profile was removed */
    struct device_profile profiles[DEVICE_PROFILES]; /* installed over MDM */
    size_t nprofiles;
    struct device_identity identities[DEVICE_IDENTITIES];
    size_t nidentities;
};

/* Makes the device of a serial number; `model` (may be NULL) chooses iPhone, iPad or Mac when it
 * names one. TD_INVAL: serial empty, too long or not fit for a file name. */
enum td_err device_init(struct device *d, const char *serial, const char *model,
                        struct errinfo *ei);
void device_free(struct device *d);
#define device_auto __attribute__((cleanup(device_free))) struct device

/* What the device itself says that it is like. */
struct posture device_says(const struct device *d);

/* What Apple's attestation says of this device. Borrows. */
struct pki_facts device_facts(const struct device *d);

/* Replaces one of the strings above; NULL empties. */
enum td_err device_set(char **field, const char *v);

/* Keeps an identity (replacing the profile's earlier one) or drops the profile's. */
enum td_err device_identity_put(struct device *d, const char *identifier, EVP_PKEY *key, X509 *cert,
                                struct errinfo *ei);
void device_identity_drop(struct device *d, const char *identifier);

/* Saves to DIR/SERIAL.device (mode 0600), loads from it. */
enum td_err device_save(const struct device *d, const char *dir, struct errinfo *ei);
enum td_err device_load(struct device *d, const char *dir, const char *serial, struct errinfo *ei);

/* True when the state directory holds that device. */
bool device_known(const char *dir, const char *serial);

/* The serial numbers in a state directory in byte order, strings and array in the arena. */
enum td_err device_list(const char *dir, struct arena *a, char ***ret, size_t *ret_n,
                        struct errinfo *ei);

#endif
