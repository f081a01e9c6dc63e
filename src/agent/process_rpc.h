/* process_rpc.h - the calls of process.Process. */
#ifndef SMX_AGENT_PROCESS_RPC_H
#define SMX_AGENT_PROCESS_RPC_H

#include "agent/call.h"

call_fn process_rpc_start, process_rpc_connect, process_rpc_list, process_rpc_send_input,
    process_rpc_stream_input, process_rpc_send_signal, process_rpc_close_stdin, process_rpc_update;

#endif
