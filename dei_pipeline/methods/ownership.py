"""Who owns and who controls a company through chains of holdings: effective shares, control closures, cycles.

D[i, j] is the direct share of company j that holder i has. The effective (cash-flow) share of a root r in company j is
e_j = N[r, j]/N[r, r] with N = (I − D)⁻¹, which counts every chain, loops included, and none of the loops through the
root itself. Control is the least set C that holds r and every company of which members of C hold more than half.
Source: methodology §3.21, §0a «Ownership»; seed 004, 典型企业数量.

Holdings are frames with holder_id, held_id (String) and share (Float64, in (0, 1]), one row per pair; or the `Network`
made of them once for many questions.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.chains import Bools, Chains, Floats, Ints, closed_parts, edges_of, parts, reachable

THRESHOLD = 0.5  # more than half controls
MARGIN = 1e-9  # above the threshold, so that the order of summation cannot matter [methodology §0a]
ROUNDING = 1e-6  # by which the shares of a company may sum to more than 1
BATCH_BYTES = 2**29  # of the solution of the roots that are solved together
MAX_BATCH, THREADS = 16, 2
PAIR = ["holder_id", "held_id"]
LOOK_THROUGH: dict[str, Any] = {
    "root_id": pl.String, "company_id": pl.String, "effective_share": pl.Float64, "controlled": pl.Boolean,
    "votes": pl.Float64, "step": pl.Int32, "via_id": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """Holdings as a sparse matrix.

    Attributes:
        ids: holders and companies, sorted.
        shares: D in CSR form: row = holder, column = held; columns sum to at most 1.
    """

    ids: pl.Series
    shares: Any

    def at(self, names: Sequence[str]) -> Ints:
        """Positions of some holders or companies.

        Raises:
            MethodError: one has and is no holding.
        """
        asked = pl.DataFrame({"id": names}, schema={"id": pl.String})
        known = self.ids.alias("id").to_frame().with_row_index("at")
        found = asked.join(known, on="id", how="left", maintain_order="left")
        if found["at"].null_count():
            unknown = found.filter(pl.col("at").is_null())["id"][0]
            raise MethodError(f"«{unknown}» occurs in no holding", "check its id, or leave it out")
        return found["at"].cast(pl.Int64).to_numpy()

    @property
    def indptr(self) -> Ints:
        """Where the holdings of each holder begin."""
        return np.asarray(self.shares.indptr, dtype=np.int64)

    def name(self, node: int) -> str:
        """Id of a position."""
        return str(self.ids[node])


def network(holdings: pl.DataFrame | Network) -> Network:
    """The sparse matrix of holdings. Sums between 1 and 1 + 1e-6 are rounding and scaled to 1.

    Raises:
        MethodError: no holding, a share that is not in (0, 1], a pair twice, or a company of which more than 1 is held;
            names the first.
    """
    if isinstance(holdings, Network):
        return holdings
    from scipy.sparse import csr_array

    if not holdings.height:
        raise MethodError("there are no holdings", "ingest a register of holdings: `dei template holdings`")
    rows = holdings.select(*PAIR, pl.col("share").cast(pl.Float64))
    wrong = rows.filter(~pl.col("share").is_between(0, 1, closed="right").fill_null(False) | pl.any_horizontal(
        pl.col(PAIR).is_null()))  # fmt: skip
    if wrong.height:
        holder, held, share = wrong.row(0)
        raise MethodError(f"{holder} holds {share} of {held}", "give two ids and a share above 0, at most 1")
    ids = pl.concat([rows["holder_id"], rows["held_id"]]).unique().sort().alias("id")
    places = ids.to_frame().with_row_index("at").lazy()
    ends = (
        rows.lazy()
        .join(places, left_on="holder_id", right_on="id")
        .join(places, left_on="held_id", right_on="id", suffix="_held")
        .select("at", "at_held", "share")
        .collect(engine="in-memory")
    )
    source, target = (ends[name].to_numpy().astype(np.int64) for name in ("at", "at_held"))
    share = ends["share"].to_numpy()
    total = np.bincount(target, weights=share, minlength=ids.len())
    if total.max() > 1 + ROUNDING:
        most = int(total.argmax())
        raise MethodError(
            f"the shares of {ids[most]} sum to {total[most]:.6g}", "correct them, or leave out the holdings in it"
        )
    share = share / np.maximum(total, 1.0)[target]
    shares = csr_array((share, (source, target)), shape=(ids.len(), ids.len()))
    if shares.nnz < share.size:
        twice = rows.filter(pl.struct(PAIR).is_duplicated()).sort(PAIR).row(0)
        raise MethodError(f"{twice[0]} holds {twice[1]} twice", "give one row per pair, the sum of its shares")
    shares.sort_indices()
    return Network(ids, shares)


def effective_shares(holdings: pl.DataFrame | Network, root: str) -> pl.DataFrame:
    """company_id, effective_share of every company that the root reaches, itself included (1), by company_id.

    e_j = N[root, j]/N[root, root], N = (I − D)⁻¹: all chains from the root, without loops through it. For a root in a
    group that is wholly owned by itself N has no value, and e_j is N[root, j] with what is held of the root left out:
    the same chains. What others hold of such a group, no more than `chains.CLOSED`, is rounding and left out.

    Args:
        holdings: see the module.
        root: id of the holder.

    Raises:
        MethodError: see `network`; the root is unknown; a large group it reaches is almost wholly owned by itself.
    """
    net = network(holdings)
    at = net.at([root])
    ((reach, _, sums),) = _solved(net, at)
    order = np.argsort(reach.nodes)
    own = sums[:, 0] / sums[reach.row(at)[0], 0]
    columns = {"company_id": net.ids.gather(reach.nodes[order]), "effective_share": np.minimum(own, 1.0)[order]}
    return pl.DataFrame(columns).filter(pl.col("effective_share") > 0)


class _Reach:
    """What some roots reach.

    Attributes:
        chains: the part of the network that they reach.
        nodes: its nodes in the order of the rows of a solution.
    """

    def __init__(self, net: Network, roots: Ints, unheld: bool = False) -> None:
        """Arranges what the roots reach; with `unheld` nobody holds anything of them."""
        inside = np.flatnonzero(reachable(net.indptr, net.shares.indices, roots))
        self.inside = inside
        matrix = net.shares[inside][:, inside]
        if unheld:
            matrix.data[np.isin(matrix.indices, np.searchsorted(inside, roots))] = 0.0
            matrix.eliminate_zeros()
        self.chains = Chains(matrix, lambda node: net.name(int(inside[node])))
        self.nodes = inside[self.chains.order]

    def row(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Row of a solution, and number as a start, of some nodes that are reached."""
        start = np.searchsorted(self.inside, nodes)
        return self.chains.place[start], start

    def solved(self, roots: Ints) -> Iterator[tuple[Ints, Floats]]:
        """The roots in batches with N[root, j] (nodes × roots), two batches at a time."""
        size = int(np.clip(BATCH_BYTES // (8 * max(1, self.nodes.size)), 1, MAX_BATCH))
        batches = [roots[start : start + size] for start in range(0, roots.size, size)]
        with ThreadPoolExecutor(THREADS) as pool:
            for at in range(0, len(batches), THREADS):
                now = batches[at : at + THREADS]
                yield from zip(now, pool.map(lambda batch: self.chains.solve(self.row(batch)[1]), now), strict=True)


def _solved(net: Network, roots: Ints) -> Iterator[tuple[_Reach, Ints, Floats]]:
    """The roots in batches, each with what it reaches and N[root, j]; one in a closed group is solved by itself."""
    together = _Reach(net, roots)
    closed = together.chains.closed[together.row(roots)[1]]
    for batch, sums in together.solved(roots[~closed]):
        yield together, batch, sums
    for root in roots[closed]:
        alone = _Reach(net, np.array([root]), unheld=True)
        for batch, sums in alone.solved(np.array([root])):
            yield alone, batch, sums


def closed_groups(holdings: pl.DataFrame | Network, roots: Sequence[str]) -> dict[str, list[str]]:
    """The groups of some roots that are wholly owned by themselves: their members by root, in order.

    Args:
        holdings: see the module.
        roots: ids of the holders, each once.

    Raises:
        MethodError: see `network`; a root is unknown.
    """
    net = network(holdings)
    at = net.at(roots)
    part, _, closed = closed_parts(net.shares)
    inside = {int(number) for number in part[at][closed[at]]}
    members = {number: net.ids.gather(np.flatnonzero(part == number)).to_list() for number in inside}
    return {root: members[int(part[node])] for root, node in zip(roots, at, strict=True) if closed[node]}


def controlled(holdings: pl.DataFrame | Network, root: str, threshold: float = THRESHOLD) -> pl.DataFrame:
    """The control closure of a root: company_id, step, votes, via_id, the root first, by step and company_id.

    Least fixed point: C = {root}; company j joins if Σ_{i∈C} D[i, j] > threshold + 1e-9, also where no single member
    holds as much (joint control). `step` is the round it joins in (root: 0), `votes` what the whole closure holds of
    it, `via_id` the member of an earlier round that holds most of it (of several the first id; root: null).

    Args:
        holdings: see the module.
        root: id of the holder.
        threshold: more than this controls.

    Raises:
        MethodError: see `network`; the root is unknown; the threshold is not from 0.5 to below 1.
    """
    net = network(holdings)
    found, *_ = _Closure(net, threshold).of(int(net.at([root])[0]), np.empty(0, dtype=np.int64))
    return _closure_frame(net, found).select("company_id", "step", "votes", "via_id").sort("step", "company_id")


@dataclass(frozen=True)
class _Members:
    """The closure of one root: members in the order they join, with step, votes and strongest earlier holder (-1)."""

    nodes: Ints
    step: Ints
    votes: Floats
    via: Ints


class _Closure:
    """Control closures over one network; its arrays are reused from root to root."""

    def __init__(self, net: Network, threshold: float) -> None:
        if not 0.5 <= threshold < 1:
            raise MethodError(
                f"control threshold {threshold}", "give a share from 0.5 (below it two may control) to below 1"
            )
        self.limit = threshold + MARGIN
        self.indptr, self.held, self.share = net.indptr, net.shares.indices, net.shares.data
        n = net.ids.len()
        self.votes, self.best, self.via = np.zeros(n), np.zeros(n), np.full(n, -1, dtype=np.int64)
        self.inside: Bools = np.zeros(n, dtype=bool)

    def of(self, root: int, owned: Ints) -> tuple[_Members, Bools, Floats]:
        """The closure of a root; and of the companies in `owned`, whether they are members and what the closure holds.

        Round by round: the holdings of those who joined last are added to the votes.
        """
        frontier = np.array([root], dtype=np.int64)
        self.inside[root] = True
        members, steps, touched = [frontier], [np.zeros(1, dtype=np.int64)], []
        while frontier.size:
            at = edges_of(self.indptr, frontier)
            held, share = self.held[at].astype(np.int64), self.share[at]
            np.add.at(self.votes, held, share)
            self._strongest(np.repeat(frontier, self.indptr[frontier + 1] - self.indptr[frontier]), held, share)
            touched.append(held)
            fresh = np.unique(held)
            frontier = fresh[(self.votes[fresh] > self.limit) & ~self.inside[fresh]]
            self.inside[frontier] = True
            members.append(frontier)
            steps.append(np.full(frontier.size, len(steps), dtype=np.int64))
        nodes, self.via[root] = np.concatenate(members), -1
        found = _Members(nodes, np.concatenate(steps), self.votes[nodes], self.via[nodes])
        beside = self.inside[owned], self.votes[owned]
        used = np.concatenate(touched)
        self.votes[used], self.best[used], self.via[used], self.inside[nodes] = 0.0, 0.0, -1, False
        return found, *beside

    def _strongest(self, holder: Ints, held: Ints, share: Floats) -> None:
        """Notes, for companies that are not members yet, who of the members so far holds most of each."""
        open_ = ~self.inside[held]
        holder, held, share = holder[open_], held[open_], share[open_]
        order = np.lexsort((holder, -share, held))
        held, first = np.unique(held[order], return_index=True)
        share, holder = share[order][first], holder[order][first]
        better = (share > self.best[held]) | ((share == self.best[held]) & (holder < self.via[held]))
        self.best[held[better]], self.via[held[better]] = share[better], holder[better]


def _closure_frame(net: Network, found: _Members) -> pl.DataFrame:
    """Members with their ids: company_id, votes, step, via_id."""
    via = pl.Series("at", found.via, dtype=pl.Int64).replace(-1, None).cast(pl.UInt32)
    return pl.DataFrame(
        {
            "company_id": net.ids.gather(found.nodes),
            "votes": found.votes,
            "step": pl.Series(found.step, dtype=pl.Int32),
            "via_id": net.ids.gather(via),
        }
    )


def look_through(
    holdings: pl.DataFrame | Network, roots: Sequence[str], threshold: float = THRESHOLD, at_least: float = THRESHOLD
) -> pl.DataFrame:
    """What each of many roots controls or effectively owns, a row per root and company other than itself.

    root_id, company_id, effective_share, controlled, votes (what the closure of the root holds of the company), step
    and via_id (null where not controlled); by root_id and company_id. A company that is owned but not controlled has
    `controlled` false and the votes 0 unless members of the closure hold some of it.

    Args:
        holdings: see the module.
        roots: ids of the holders, each once.
        threshold: of control.
        at_least: companies that are not controlled are listed if the effective share is above this.

    Raises:
        MethodError: see `network`, `controlled`; no root, or a root twice.
    """
    net, names = network(holdings), list(roots)
    if not names or len(set(names)) < len(names):
        raise MethodError(f"{len(names)} roots, {len(set(names))} different", "name at least one, each once")
    at = net.at(names)
    name_of = dict(zip(at.tolist(), names, strict=True))
    closures, frames = _Closure(net, threshold), []
    for reach, batch, sums in _solved(net, at):
        own = sums[reach.row(batch)[0], np.arange(batch.size)]
        rows, columns = np.nonzero(sums > (at_least + MARGIN) * own)
        for column, root in enumerate(batch.tolist()):
            owned = reach.nodes[rows[columns == column]]
            found, member, votes = closures.of(root, owned)
            free = {"company_id": net.ids.gather(owned[~member]), "votes": votes[~member]}
            nodes = np.concatenate([found.nodes[1:], owned[~member]])
            listed = [_closure_frame(net, found)[1:], pl.DataFrame(free)]
            frames.append(
                pl.concat(listed, how="diagonal").with_columns(
                    root_id=pl.lit(name_of[root]),
                    effective_share=pl.Series(np.minimum(sums[reach.row(nodes)[0], column] / own[column], 1.0)),
                )
            )
    frame = pl.concat(frames).with_columns(controlled=pl.col("step").is_not_null()).sort("root_id", "company_id")
    return frame.select(pl.col(name).cast(kind) for name, kind in LOOK_THROUGH.items())


def cycles(holdings: pl.DataFrame) -> pl.DataFrame:
    """Companies that own themselves through a chain: company_id, group_id, members, itself; by group and company.

    `group_id` is the first id of the strongly connected group, `members` its size, `itself` whether the company also
    holds itself directly (a group of one does).

    Args:
        holdings: see the module; self-holdings and sums above 1 do no harm here.
    """
    from scipy.sparse import csr_array

    if not holdings.height:
        return pl.DataFrame(schema={"company_id": pl.String, "group_id": pl.String, "members": pl.Int64,
                                    "itself": pl.Boolean})  # fmt: skip
    ids = pl.concat([holdings["holder_id"], holdings["held_id"]]).unique().sort().alias("id")
    places = ids.to_frame().with_row_index("at")
    ends = holdings.join(places, left_on="holder_id", right_on="id").join(
        places, left_on="held_id", right_on="id", suffix="_held"
    )
    source, target = ends["at"].to_numpy(), ends["at_held"].to_numpy()
    part = parts(csr_array((np.ones(source.size), (source, target)), shape=(ids.len(), ids.len())))
    itself = np.zeros(ids.len(), dtype=bool)
    itself[source[source == target]] = True
    frame = pl.DataFrame({"company_id": ids, "part": part, "itself": itself}).with_columns(
        group_id=pl.col("company_id").min().over("part"), members=pl.len().over("part").cast(pl.Int64)
    )
    on_cycle = frame.filter((pl.col("members") > 1) | pl.col("itself"))
    return on_cycle.select("company_id", "group_id", "members", "itself").sort("group_id", "company_id")


def why(holdings: pl.DataFrame, closure: pl.DataFrame, company: str, threshold: float = THRESHOLD) -> pl.DataFrame:
    """The holdings that make a company controlled, from it up to the root: held_id, step, holder_id, share.

    Of each company on the way the largest holdings of members of earlier rounds, until they are more than the
    threshold; by step of the held company (the last first), share and holder.

    Args:
        holdings: see the module.
        closure: of one root: company_id, step; from `controlled`.
        company: a member of the closure.
        threshold: as the closure was made with.

    Raises:
        MethodError: the company is no member of the closure.
    """
    step_of = dict(closure.select("company_id", "step").iter_rows())
    if company not in step_of:
        raise MethodError(f"{company} is not controlled", f"the closure has {len(step_of)} companies")
    into = holdings.join(closure.select(holder_id="company_id", holder_step="step"), on="holder_id", how="semi")
    waiting, done, rows = [company], set[str](), []
    while waiting:
        held = waiting.pop(0)
        if held in done or not step_of[held]:
            continue
        done.add(held)
        votes = 0.0
        for holder, share in into.filter(held_id=held).sort("share", "holder_id", descending=[True, False]).select(
            "holder_id", "share"
        ).iter_rows():  # fmt: skip
            if step_of[holder] < step_of[held] and votes <= threshold + MARGIN:
                rows.append((held, step_of[held], holder, share))
                votes += share
                waiting.append(holder)
    schema = {"held_id": pl.String, "step": pl.Int32, "holder_id": pl.String, "share": pl.Float64}
    found = pl.DataFrame(rows, schema=schema, orient="row")
    return found.sort("step", "held_id", "share", "holder_id", descending=[True, False, True, False])
