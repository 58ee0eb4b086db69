with
judgements as (select * from core.ahp_judgements),

final as (
    select
        judgements.index_id,
        judgements.edition,
        judgements.parent_id,
        judgements.expert_id,
        judgements.row_node,
        judgements.column_node,
        judgements.value,
        mirrored.value as mirrored
    from judgements
    left join judgements as mirrored
        on judgements.index_id = mirrored.index_id
        and judgements.edition = mirrored.edition
        and judgements.parent_id = mirrored.parent_id
        and judgements.expert_id = mirrored.expert_id
        and judgements.row_node = mirrored.column_node
        and judgements.column_node = mirrored.row_node
    where mirrored.value is null
        or not abs(judgements.value * mirrored.value - 1) <= 1e-12
)

select * from final
