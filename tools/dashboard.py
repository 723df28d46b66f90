"""Writes deploy/grafana/ringrift-serve.json: the panels are a table here, the rest of Grafana's form follows."""

import json
from pathlib import Path

TARGET = Path(__file__).parent.parent / "deploy" / "grafana" / "ringrift-serve.json"
RATE = "[$__rate_interval]"
#: Title, unit, and for each line its query and legend.
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Requests", "reqps", ((f"sum by (route) (rate(ringrift_serve_requests_total{RATE}))", "{{route}}"),)),
    ("Answers by status", "reqps", ((f"sum by (status) (rate(ringrift_serve_requests_total{RATE}))", "{{status}}"),)),
    ("Unexpected failures", "short", ((f"increase(ringrift_serve_errors_total{RATE})", "500"),)),
    ("Move latency by level, 95 %", "s", (
        (f"histogram_quantile(0.95, sum by (le, level) (rate(ringrift_serve_decision_seconds_bucket{RATE})))",
         "level {{level}}"),)),
    ("Move latency by config, 95 %", "s", (
        (f"histogram_quantile(0.95, sum by (le, config) (rate(ringrift_serve_decision_seconds_bucket{RATE})))",
         "{{config}}"),)),
    ("Simulations made of those meant", "percentunit", (
        (f'sum by (level) (rate(ringrift_serve_simulations_total{{kind="spent"}}{RATE}))'
         f' / sum by (level) (rate(ringrift_serve_simulations_total{{kind="asked"}}{RATE}))', "level {{level}}"),)),
    ("Moves of the game server", "reqps", (
        (f"sum by (ai_type, outcome) (rate(ai_move_requests_total{RATE}))", "{{ai_type}} {{outcome}}"),)),
    ("Decisions by others than meant", "reqps", (
        (f"sum by (config) (rate(ringrift_serve_fallbacks_total{RATE}))", "{{config}}"),)),
    ("Cut short by their deadline", "reqps", (
        (f"sum by (level) (rate(ringrift_serve_deadlines_total{RATE}))", "level {{level}}"),)),
    ("Overload and refusals", "reqps", (
        (f"sum by (answer) (rate(ringrift_serve_overload_total{RATE}))", "overload: {{answer}}"),
        (f"sum by (reason) (rate(ringrift_serve_refused_total{RATE}))", "refused: {{reason}}"))),
    ("Being answered", "short", (
        ("ringrift_serve_in_flight", "requests"), ("ringrift_serve_waiting", "moves"))),
    ("Players kept ready", "percentunit", (
        (f'sum(rate(ai_instance_cache_lookups_total{{outcome="hit"}}{RATE}))'
         f" / sum(rate(ai_instance_cache_lookups_total{RATE}))", "found"),)),
    ("Models swapped", "short", ((f"increase(ringrift_serve_model_swaps_total{RATE})", "{{config}}"),)),
    ("Memory", "bytes", (("process_resident_memory_bytes", "resident"),)),
)  # fmt: skip


def dashboard() -> dict[str, object]:
    """Two panels in a row."""
    source = {"type": "prometheus", "uid": "${source}"}
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": title,
            "datasource": source,
            "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(65 + line), "datasource": source, "expr": query, "legendFormat": legend}
                for line, (query, legend) in enumerate(lines)
            ],
        }
        for number, (title, unit, lines) in enumerate(PANELS)
    ]
    variable = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"}
    return {
        "title": "RingRift AI service",
        "uid": "ringrift-serve",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
