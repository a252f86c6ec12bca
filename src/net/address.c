/*
 * net/address.c - see address.h.
 */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

void address_from(const struct sockaddr_storage *ss, struct address *out)
{
    memset(out, 0, sizeof(*out));
    out->family = (uint8_t)ss->ss_family;
    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

        memcpy(out->addr, &in->sin_addr, sizeof(in->sin_addr));
        out->port = ntohs(in->sin_port);
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

        out->port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            out->family = AF_INET;
            memcpy(out->addr, &in6->sin6_addr.s6_addr[12], 4);
        } else {
            memcpy(out->addr, &in6->sin6_addr, sizeof(in6->sin6_addr));
        }
    }
}
