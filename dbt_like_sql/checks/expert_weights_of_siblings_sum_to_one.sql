with
experts as (select * from index.deci_expert_weights),

final as (
    select
        experts.edition || '|' || experts.parent_id || '|' || experts.expert_id as key,
        sum(experts.weight) as weights
    from experts
    group by experts.edition, experts.parent_id, experts.expert_id
    having min(experts.weight) < 0
        or max(experts.weight) > 1
        or not abs(sum(experts.weight) - 1) <= 1e-9
)

select * from final
