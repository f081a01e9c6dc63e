/* watch_rpc.h - WatchDir (a stream) and the watchers that are asked for their events. */
#ifndef SMX_AGENT_WATCH_RPC_H
#define SMX_AGENT_WATCH_RPC_H

#include "agent/call.h"

call_fn watch_rpc_watch_dir, watch_rpc_create_watcher, watch_rpc_get_watcher_events,
    watch_rpc_remove_watcher;

#endif
