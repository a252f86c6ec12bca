/*
 * supervisor/tlscheck.h - whether the TLS files make sense, before any worker gets them.
 *
 * To be called in a process that ends soon: parsers of certificates are no company for the master.
 */
#ifndef SUPERVISOR_TLSCHECK_H
#define SUPERVISOR_TLSCHECK_H

#include "config/tlsfiles.h"

/* Reports everything that is wrong; nothing to do when TLS is off. */
void tlscheck(const struct settings *settings, const struct tls_files *files,
              struct config_report *report);

#endif
