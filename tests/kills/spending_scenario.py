"""The first scenario with budgets: what the books say after kills at any moment.

Every request that reached the model is in the books once, with the provider's exact count if that
arrived, and nothing stays reserved. Budgets, reports and requests agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.kills.scenario import Scenario
from tests.support.transcript import Verdict

CONFIG = Path(__file__).parents[1] / "fixtures" / "policy" / "budgets.toml"


@dataclass(slots=True)
class SpendingScenario(Scenario):
    """The people of the first scenario, whose requests count against three budgets."""

    settings: ClassVar[Mapping[str, str]] = {"THREADLINE_CONFIG": str(CONFIG)}

    async def verdict(self) -> Verdict:
        """The judge's verdict, and whether the books are right."""
        await self._check_requests()
        self._check_sums()
        # `dataclass(slots=True)` makes a new class, which `super()` without arguments misses.
        return await super(SpendingScenario, self).verdict()

    async def _check_requests(self) -> None:
        """Each request was reserved before it was sent.

        A kill between the two leaves one extra reservation in each thread, since they share a
        commit.
        """
        booked = self.world.query(
            "SELECT state, is_estimate, input_tokens, output_tokens FROM model_requests"
        )
        sent = [record for record in await self.world.model.streams() if record.usage is not None]
        if any(state != "settled" for state, *_ in booked):
            self.violations.append(f"reserved: {booked}")
        unsent = self.world.bot.deaths * len(self.threads)
        if not len(sent) <= len(booked) <= len(sent) + unsent:
            self.violations.append(f"books: {len(booked)} requests, and {len(sent)} were sent")
        counted = Counter(
            (record.usage["prompt_tokens"], record.usage["completion_tokens"])
            for record in sent
            if record.usage is not None and record.outcome == "done"
        )
        exact = Counter((asked, said) for _, is_estimate, asked, said in booked if not is_estimate)
        if unknown := exact - counted:
            self.violations.append(f"books: {unknown} are not the provider's counts")
        if not self.world.bot.deaths and exact != counted:
            self.violations.append(f"books: {exact}, not {counted}")

    def _check_sums(self) -> None:
        """The sums of budgets and reports equal the sums over the requests."""
        (requests,) = self.world.query(
            "SELECT sum(cost), sum(input_tokens + output_tokens), count(*) FROM model_requests"
        )
        (reported,) = self.world.query(
            "SELECT sum(cost), sum(input_tokens + output_tokens), sum(requests) FROM usage_by_day"
        )
        if requests != reported:
            self.violations.append(f"reports: {reported}, not {requests}")
        sums = self.world.query(
            "SELECT budget, sum(cost), sum(tokens), sum(reserved_cost), sum(reserved_tokens)"
            " FROM budget_sums GROUP BY budget"
        )
        for budget, *amounts in sums:
            if amounts != [*requests[:2], 0, 0]:
                self.violations.append(f"budgets: {budget} has {amounts}, not {requests}")
        if len(sums) != 3:
            self.violations.append(f"budgets: only {sums}")
