/*
 * dflockd/tlsload.h - the TLS files at start. Runs before the master is one.
 */
#ifndef DFLOCKD_TLSLOAD_H
#define DFLOCKD_TLSLOAD_H

#include "config/tlsfiles.h"

/* Reads the files that the settings name, and has a child of its own look at what is in them; reports
   what is wrong. `files` begins at a page of its own: it is kept out of core dumps. */
void tlsload(const struct settings *settings, struct tls_files *files, struct config_report *report);

#endif
