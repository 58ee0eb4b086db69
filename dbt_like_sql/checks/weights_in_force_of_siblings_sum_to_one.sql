with
framework as (select * from core.framework where index_id = 'dei'),

weights as (select * from index.dei_weights),

final as (
    select
        framework.index_id,
        framework.edition,
        framework.parent_id,
        sum(weights.weight) as weights,
        count(*) - count(weights.weight) as without_weight
    from framework
    left join weights on framework.edition = weights.edition and framework.node_id = weights.node_id
    group by framework.index_id, framework.edition, framework.parent_id
    having count(weights.weight) < count(*)
        or min(weights.weight) < 0
        or max(weights.weight) > 1
        or not abs(sum(weights.weight) - 1) <= 1e-9
)

select * from final
