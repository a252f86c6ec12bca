/*
 * config/tlsfiles.h - what the files of --tls-cert, --tls-key and --tls-client-ca hold: bytes, not
 * looked at (supervisor/tlscheck.h does that).
 *
 * Read by the master, since workers open no files; inherited by workers. Plain memory without
 * pointers, as struct settings.
 */
#ifndef CONFIG_TLSFILES_H
#define CONFIG_TLSFILES_H

#include "config/report.h"
#include "config/settings.h"

#include <stdint.h>

enum {
    TLSFILES_CERT_MAX = 131072,
    TLSFILES_KEY_MAX = 65536,
    TLSFILES_CA_MAX = 1048576, /* the bundle of a whole system is a quarter of that */
};

struct tls_files {
    uint32_t cert_n; /* bytes; 0: TLS is off, there are no files at all */
    uint32_t key_n;
    uint32_t client_ca_n; /* 0: clients need no certificate */
    char cert[TLSFILES_CERT_MAX];
    char key[TLSFILES_KEY_MAX];
    char client_ca[TLSFILES_CA_MAX];
};

#define SERVED_PROGRAM "dflockd " PACKAGE_VERSION

/* All that a reload replaces. */
struct served {
    char program[32]; /* SERVED_PROGRAM, */
    uint64_t size;    /* and of this struct: another program's settings are not understood */
    struct settings settings;
    struct tls_files tls_files;
};

/* Fills *files from scratch. 0, or ERR_CONFIG after errors were reported; then it is empty. A key that
   everybody may read is a warning. */
int tlsfiles_load(const struct settings *settings, struct tls_files *files,
                  struct config_report *report);

/* Nothing of the key stays. */
void tlsfiles_wipe(struct tls_files *files);

#endif
