/* control.h - what supervisor and gateway say to each other over their SOCK_SEQPACKET pair, and how
 * the gateway finds its descriptors. One word a datagram. The end of the pair tells each side that
 * the other is gone.
 *
 * Descriptors come as LISTEN_FDS says (sd_listen_fds(3)): from 3 on, named by LISTEN_FDNAMES with
 * the names below; listeners opened by systemd itself may have any other name and serve HTTP. */
#ifndef SMX_GATEWAY_CONTROL_H
#define SMX_GATEWAY_CONTROL_H

#define CONTROL_FD_NAME "control" /* this pair */
#define ENGINE_FD_NAME "engine"   /* SOCK_SEQPACKET to the engine (wire/engine) */
#define TCP_FD_NAME "tcp"
#define UNIX_FD_NAME "unix"
#define TLS_FD_NAME "tls" /* listener for HTTPS */
/* Files in memory, PEM text: the certificate with its chain, and its key. */
#define TLS_CERT_FD_NAME "tlscert"
#define TLS_KEY_FD_NAME "tlskey"

/* to the gateway */
#define CONTROL_ENGINE "engine" /* with one descriptor: the engine was started anew */
#define CONTROL_TLS "tls"       /* with two: certificate and key have changed */

/* from the gateway */
#define CONTROL_READY "ready" /* it accepts requests */
#define CONTROL_IDLE "idle"   /* --auto: nothing to look after for long enough */
#define CONTROL_STOP "stop"   /* a caller with the right to asked for the end of the daemon */

/* What became of CONTROL_TLS: they are served; or they make no sense and the old ones are served.
 */
#define CONTROL_TLS_TAKEN "tls-taken"
#define CONTROL_TLS_REFUSED "tls-refused"

enum { CONTROL_MESSAGE_MAX = 64 };

/* Exit status that says "starting again will not help" (sysexits' EX_CONFIG). */
enum { GATEWAY_EXIT_CONFIG = 78 };

#endif
