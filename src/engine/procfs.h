/* procfs.h - a proc file system of our own for writing sysctls of other namespaces.
 *
 * Each namespace has files of its own under the same names, and all of them stay in the cache of
 * the one /proc that everybody uses, in one chain: with thousands of sandboxes each look-up there
 * walks thousands of entries (7 us a create for each sandbox held, measured). A private instance
 * that is thrown away after some uses keeps the chains short. */
#ifndef SMX_ENGINE_PROCFS_H
#define SMX_ENGINE_PROCFS_H

/* A directory descriptor, borrowed until the next call: the host's /proc where no instance can be
 * made, -1 with errno when that cannot be opened either. */
int procfs_private(void);
/* In a new process that did not keep the descriptor. */
void procfs_forget(void);

#endif
