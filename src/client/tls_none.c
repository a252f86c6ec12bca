/*
 * client/tls_none.c - in place of tls.c where the library is built without TLS.
 */
#include "client/dflock.h"
#include "client/transport.h"

struct tls_context *tls_context_new(const struct tls_files *files, struct failure *f)
{
    (void)files;
    failure_set(f, DFLOCK_ERR_TLS, "this libdflock was built without TLS");
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    (void)c;
}

/* Nobody has a context to call it with. */
int tls_start(struct transport *t, struct tls_context *c, const char *name, struct failure *f)
{
    (void)t;
    (void)c;
    (void)name;
    return f->code;
}
