/*
 * ctl/check.h - what `dflockctl check` says if it cannot even begin, in the form of monitoring
 * plugins: a line on standard output, whose exit status is returned.
 */
#ifndef CTL_CHECK_H
#define CTL_CHECK_H

int check_unknown(const char *why);

#endif
