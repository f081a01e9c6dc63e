/* filemax.h - how many files may be open on the host (fs.file-max). The kernel counts them for all
 * together; what bounds a sandbox is its memory, which each open file takes some of. A small number
 * here lets one sandbox use up what all others need. So it is out of the way while an engine runs,
 * as on every host that systemd has started; the number before stands in the one that is written
 * (the largest minus it), so that whoever leaves last can put it back, whoever came first. Nothing
 * parks. */
#ifndef SMX_ENGINE_FILEMAX_H
#define SMX_ENGINE_FILEMAX_H

#include "engine/slots.h"

/* Only where the memory of sandboxes is bounded. */
void filemax_raise(struct slots *s);
/* By an engine without sandboxes, at its end: unless another state directory has some. */
void filemax_restore(struct slots *s);

/* What to write in the place of now; 0: it stays. */
unsigned long filemax_raised(unsigned long now);
unsigned long filemax_restored(unsigned long now);

#endif
