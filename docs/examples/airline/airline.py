"""Follows a conversation with an airline's agent, and tells its policy what the rules of the trade look at.

Used by `policy.toml` beside it. Facts are what the tools answered and what the customer wrote, never what the model
claims of either: a model that invents a booking class, or a "yes" that nobody said, changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

NOW = datetime(2024, 5, 15, 15, 0, 0)
"""The moment that the system prompt of these conversations tells."""
YES = re.compile(
    r"\b(yes|yeah|yep|sure|correct|confirm(ed)?|proceed|go ahead|please do|ok(ay)?|absolutely|agreed?|that works)\b",
    re.I,
)
NO = re.compile(r"\b(no|not|don't|do not|wait|instead|actually)\b", re.I)
COVERED = re.compile(
    r"\b(sick|ill|illness|unwell|health|medical|doctor|hospital|surgery|weather|storm|hurricane)\b", re.I
)
COMPLAINT = re.compile(r"\b(cancel(l)?ed|delay(ed|s)?|compensat\w*|inconvenience\w*)\b", re.I)


class Airline:
    """One conversation."""

    def __init__(self) -> None:
        self.customer: dict[str, Any] = {}
        self.bookings: dict[str, dict[str, Any]] = {}
        self.legs: dict[str, tuple[str, str]] = {}
        self.words: list[str] = []

    # --- what is heard -----------------------------------------------------------------------------------------------

    def hear(self, message: Any, call: Any) -> None:
        """Take in what the customer writes and what tools answer."""
        text = "" if message.content is None else message.content.data.decode()
        if message.role == "user":
            self.words.append(text)
        elif call is not None:
            self._answered(call.name, _json(text))

    def _answered(self, tool: str, answer: Any) -> None:
        if tool == "get_user_details" and isinstance(answer, dict):
            self.customer = answer
        elif isinstance(answer, dict) and "reservation_id" in answer:
            self.bookings[answer["reservation_id"]] = answer
            self._flights(answer.get("flights", []))
        elif tool.startswith("search_"):
            self._flights(answer if isinstance(answer, list) else [])

    def _flights(self, flights: Any) -> None:
        todo = list(flights)
        while todo:
            one = todo.pop()
            if isinstance(one, list):
                todo.extend(one)
            elif isinstance(one, dict) and {"flight_number", "origin", "destination"} <= one.keys():
                self.legs[one["flight_number"]] = (one["origin"], one["destination"])

    # --- what is told ------------------------------------------------------------------------------------------------

    def facts(self, message: Any, call: Any) -> Mapping[str, Any]:
        """Return the facts of a step; one that is not known is not among them, and its rule then refuses."""
        last = self.words[-1] if self.words else ""
        facts: dict[str, Any] = {
            "confirmed": bool(YES.search(last)) and not NO.search(last[:40]),
            "alone": message.content is None or not message.calls,
            "complained": any(COMPLAINT.search(text) for text in self.words),
        }
        if self.customer:
            facts["membership"] = self.customer.get("membership")
        if call is None:
            return facts
        given = _json(call.arguments.data.decode()) or {}
        about = getattr(self, f"_{call.name}", None)
        return facts | (about(given) if about else {})

    def _book_reservation(self, given: Mapping[str, Any]) -> dict[str, Any]:
        methods = [one.get("payment_id", "") for one in given.get("payment_methods", [])]
        known = self.customer.get("payment_methods", {})
        return {
            "passengers": len(given.get("passengers", [])),
            "certificates": sum(one.startswith("certificate") for one in methods),
            "credit_cards": sum(one.startswith("credit_card") for one in methods),
            "gift_cards": sum(one.startswith("gift_card") for one in methods),
            "payment_in_profile": all(one in known for one in methods),
            "own_profile": given.get("user_id") == self._customer_id(),
        }

    def _update_reservation_flights(self, given: Mapping[str, Any]) -> dict[str, Any]:
        booking = self.bookings.get(given.get("reservation_id", ""))
        if booking is None:
            return {}
        old = [(one["flight_number"], one["date"]) for one in booking["flights"]]
        new = [(one.get("flight_number"), one.get("date")) for one in given.get("flights", [])]
        facts = {
            "cabin": booking["cabin"],
            "flights_changed": sorted(old) != sorted(new),
            "pays_with_certificate": str(given.get("payment_id", "")).startswith("certificate"),
        }
        legs = [self.legs.get(number) for number, _ in new]
        if legs and None not in legs:
            facts["same_route"] = _ends(legs, booking)
        return facts

    def _update_reservation_baggages(self, given: Mapping[str, Any]) -> dict[str, Any]:
        booking = self.bookings.get(given.get("reservation_id", ""))
        return {} if booking is None else {"bags_removed": given.get("total_baggages", 0) < booking["total_baggages"]}

    def _update_reservation_passengers(self, given: Mapping[str, Any]) -> dict[str, Any]:
        booking = self.bookings.get(given.get("reservation_id", ""))
        if booking is None:
            return {}
        return {"same_number": len(given.get("passengers", [])) == len(booking["passengers"])}

    def _cancel_reservation(self, given: Mapping[str, Any]) -> dict[str, Any]:
        booking = self.bookings.get(given.get("reservation_id", ""))
        if booking is None:
            return {}
        age = NOW - datetime.fromisoformat(booking["created_at"])
        return {
            "cabin": booking["cabin"],
            "booked_within_a_day": timedelta(0) <= age <= timedelta(hours=24),
            "airline_cancelled": any("airline" in text.lower() and "cancel" in text.lower() for text in self.words),
            "insured_reason": booking["insurance"] == "yes" and any(COVERED.search(text) for text in self.words),
            "flown": any(datetime.fromisoformat(one["date"]) < NOW - timedelta(days=1) for one in booking["flights"]),
        }

    def _send_certificate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        bookings = self.bookings.values()
        sizes = {len(one["passengers"]) for one in bookings}
        return {
            "entitled": self.customer.get("membership") in ("silver", "gold")
            or any(one["insurance"] == "yes" or one["cabin"] == "business" for one in bookings),
            "amount_fits": given.get("amount") in {rate * size for size in sizes for rate in (50, 100)},
        }

    def _customer_id(self) -> str | None:
        """Return the customer's id, which the profile does not repeat: that of the bookings it lists."""
        own = set(self.customer.get("reservations", ()))
        ids = {one["user_id"] for id, one in self.bookings.items() if id in own}
        named = [
            word.strip(".,!?'\"") for text in self.words for word in text.split() if re.search(r"\w_\w+_\d{4}", word)
        ]
        return next(iter(ids), None) or next(iter(named), None)


def _ends(legs: list[Any], booking: Mapping[str, Any]) -> bool:
    """Tell whether flights still lead from where a booking begins to where it ends, and back if it is a return."""
    stops = [legs[0][0]] + [destination for _, destination in legs]
    joined = all(before[1] == after[0] for before, after in pairwise(legs))
    there = stops[0] == booking["origin"] and booking["destination"] in stops
    back = stops[-1] == (booking["origin"] if booking["flight_type"] == "round_trip" else booking["destination"])
    return joined and there and back


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
