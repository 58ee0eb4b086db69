with
ranks as (select * from index.dei_node_ranks),

placed as (
    select
        ranks.*,
        rank() over (partition by ranks.year, ranks.node_id order by ranks.rank) as place,
        rank() over (partition by ranks.year, ranks.node_id, ranks.zone_id order by ranks.rank) as zone_place,
        rank() over (partition by ranks.year, ranks.node_id, ranks.province_code order by ranks.rank) as province_place,
        count(*) over (partition by ranks.year, ranks.node_id) as places,
        lag(ranks.rank) over (
            partition by ranks.year, ranks.node_id order by ranks.rank, ranks.score desc
        ) as rank_before,
        lag(ranks.score) over (
            partition by ranks.year, ranks.node_id order by ranks.rank, ranks.score desc
        ) as score_before
    from ranks
),

final as (
    select placed.*
    from placed
    where placed.rank <> placed.place
        or placed.cities <> placed.places
        or (placed.zone_id is null) <> (placed.zone_rank is null)
        or placed.zone_rank <> placed.zone_place
        or (placed.province_code is null) <> (placed.province_rank is null)
        or placed.province_rank <> placed.province_place
        or (placed.rank = placed.rank_before and not placed.score_before - placed.score <= 2e-10)
        or (placed.rank > placed.rank_before and not placed.score_before > placed.score)
)

select * from final
