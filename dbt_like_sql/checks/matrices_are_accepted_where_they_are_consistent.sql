with
experts as (select * from index.deci_expert_weights),

final as (
    select
        experts.edition || '|' || experts.parent_id || '|' || experts.expert_id || '|' || experts.node_id as key,
        experts.cr,
        experts.accepted
    from experts
    where experts.accepted <> (experts.cr < 0.1)
        or (experts.expert_id = 'pooled' and not experts.accepted)
)

select * from final
