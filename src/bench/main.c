/*
 * bench/main.c - dflock-bench(1): a load for dflockd servers, measured and checked.
 *
 * options.c reads what is wanted, run.c does it (plan.c, driver.c, op.c, link.c, check.c,
 * histogram.c), report.c says what came of it.
 */
#include "bench/options.h"
#include "bench/report.h"
#include "bench/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct settings s;
    struct result *r = calloc(1, sizeof(*r));
    int code = options_read(&s, argc, argv);
    bool finished = false;

    if (code < 0 && !r) {
        complain("no memory");
        code = EXIT_BROKEN;
    }
    if (code < 0) {
        report_begins(&s);
        code = run(&s, r, &finished);
    }
    if (finished) {
        int err = report_result(&s, r);

        if (err) {
            complain("the results could not be written: %s", strerror(-err));
            code = code ? code : EXIT_BROKEN;
        }
    }
    options_free(&s);
    free(r);
    return code;
}
