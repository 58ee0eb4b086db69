with
probabilities as (select * from index.dei_probabilities where event like 'tier:%'),

final as (
    select probabilities.region_code, probabilities.year, sum(probabilities.probability) as probability
    from probabilities
    group by probabilities.region_code, probabilities.year
    having not abs(sum(probabilities.probability) - 1) <= 1e-9
)

select * from final
