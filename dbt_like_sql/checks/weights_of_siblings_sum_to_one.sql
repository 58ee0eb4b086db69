with
framework as (select * from core.framework),

final as (
    select framework.index_id, framework.edition, framework.parent_id, sum(framework.weight) as weights
    from framework
    where framework.parent_id is not null
    group by framework.index_id, framework.edition, framework.parent_id
    having not abs(sum(framework.weight) - 1) <= 1e-12
)

select * from final
