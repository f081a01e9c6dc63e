/* identity.c - file-system ids and capabilities of the one thread.
 *
 * Leaving fsuid 0 takes the file capabilities out of the effective set (and entering it gives them
 * back), so the effective set is restored after each change. */
#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    struct __user_cap_data_struct caps[2];
    uid_t uid, fsuid;
    gid_t fsgid;
    bool setuid;
} self;

static bool has_cap(unsigned cap)
{
    return (self.caps[cap / 32].effective >> (cap % 32)) & 1;
}

void identity_init(void)
{
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };

    if (syscall(SYS_capget, &head, self.caps) < 0)
        self.caps[0].effective = self.caps[1].effective = 0;
    self.uid = geteuid();
    self.fsuid = self.uid;
    self.fsgid = getegid();
    self.setuid = has_cap(CAP_SETUID) && has_cap(CAP_SETGID);
}

bool identity_privileged(void)
{
    return self.setuid;
}

bool identity_can_be(const struct agent_user *u)
{
    return self.setuid || u->uid == self.uid;
}

static int restore_caps(struct smx_err *err)
{
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };

    if (syscall(SYS_capset, &head, self.caps) < 0)
        return smx_err_errno(err, errno, "restoring capabilities");
    return 0;
}

int identity_fs(const struct agent_user *u, struct smx_err *err)
{
    if (self.fsuid == u->uid && self.fsgid == u->gid)
        return 0;
    if (!identity_can_be(u))
        return smx_err_set(
            err, SMX_E_FORBIDDEN, "cannot act as user '%s': the agent has no privilege", u->name);
    if (!self.setuid)
        return 0;
    setfsgid(u->gid);
    setfsuid(u->uid);
    /* The calls report the previous id; a second one with an invalid id reports what now holds. */
    if ((uid_t)setfsuid((uid_t)-1) != u->uid || (gid_t)setfsgid((gid_t)-1) != u->gid)
        return smx_err_set(err, SMX_E_FORBIDDEN, "cannot act as user '%s'", u->name);
    self.fsuid = u->uid;
    self.fsgid = u->gid;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a change of ids sets it to fs.suid_dumpable */
    return restore_caps(err);
}

void identity_give(int fd, const struct agent_user *u)
{
    struct stat st;

    if (!self.setuid || fstat(fd, &st) < 0 || (st.st_uid == u->uid && st.st_gid == u->gid))
        return;
    if (fchown(fd, u->uid, u->gid) < 0)
        return; /* e.g. a device or a file of /proc: it stays whose it is */
}

bool identity_may_enter(const char *dir, const struct agent_user *u)
{
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct without[2];
    bool ok;

    if (identity_fs(u, /* err= */ NULL) < 0 || setgroups(u->ngroups, u->groups) < 0)
        return false;
    for (int i = 0; i < 2; i++) {
        without[i] = self.caps[i];
        without[i].effective = 0;
    }
    if (syscall(SYS_capset, &head, without) < 0)
        return false;
    ok = faccessat(AT_FDCWD, dir, X_OK, AT_EACCESS) == 0;
    return restore_caps(/* err= */ NULL) == 0 && ok;
}
