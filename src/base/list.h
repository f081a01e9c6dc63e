/* list.h - an intrusive doubly linked list. A head is a node that links to itself. */
#ifndef SMX_BASE_LIST_H
#define SMX_BASE_LIST_H

#include <stdbool.h>

#include "base/cleanup.h"

struct smx_list {
    struct smx_list *next, *prev;
};

#define SMX_LIST_ENTRY(node, type, member) SMX_CONTAINER_OF(node, type, member)
#define SMX_LIST_FOREACH(it, head) \
    for (struct smx_list *it = (head)->next; it != (head); it = it->next)
/* The body may unlink or free the element. */
#define SMX_LIST_FOREACH_SAFE(it, head)                                           \
    for (struct smx_list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)

static inline void smx_list_init(struct smx_list *l)
{
    l->next = l->prev = l;
}

static inline bool smx_list_empty(const struct smx_list *l)
{
    return l->next == l;
}

static inline void smx_list_add(struct smx_list *head, struct smx_list *node) /* at the end */
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Unlinks and leaves the node linked to itself, so that a second call does nothing. */
static inline void smx_list_del(struct smx_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    smx_list_init(node);
}

#endif
