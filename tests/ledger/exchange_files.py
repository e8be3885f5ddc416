"""Files as other programs write them, made from what is known of their columns and lines."""

from __future__ import annotations

import csv
import io

HEADERS = {
    "1.2": "timestamp,experiment_id,project_name,duration,emissions,energy_consumed,country_name,country_iso_code,"
    "region,on_cloud,cloud_provider,cloud_region",
    "2.3": "timestamp,project_name,run_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,"
    "gpu_energy,ram_energy,energy_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,"
    "python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,"
    "tracking_mode,on_cloud,pue",
    "3.3.2": "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,"
    "ram_power,cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,"
    "cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,"
    "longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,gpu_utilization_percent,"
    "ram_utilization_percent,ram_used_gb,on_cloud,pue,wue",
}
USUAL = {
    "timestamp": "2026-05-01T12:00:00", "project_name": "summaries", "run_id": "r1", "experiment_id": "e1",
    "duration": "3600.0", "emissions": "0.01", "cpu_energy": "0.04", "gpu_energy": "0.06", "ram_energy": "0.01",
    "energy_consumed": "0.11", "country_name": "France", "country_iso_code": "FRA", "region": "ile-de-france",
    "os": "Linux", "python_version": "3.11.2", "codecarbon_version": "3.3.2", "cpu_count": "8", "cpu_model": "Xeon",
    "gpu_count": "1", "gpu_model": "1 x Tesla T4", "ram_total_size": "31.3", "tracking_mode": "machine", "pue": "1.0",
    "on_cloud": "N",
}  # fmt: skip


def emissions(*rows, version="3.3.2", separator=","):
    """The text of an `emissions.csv` of a version; each row says what is not as usual."""
    names = HEADERS[version].split(",")
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([{**USUAL, **row}.get(name, "") for name in names])
    return text.getvalue()


STANDARD_LOG = """\
2022-11-14 15:41:00 - carbontracker version 1.2.5
2022-11-14 15:41:00 - Only predicted and actual consumptions are multiplied by a PUE coefficient of 1.58 (2022).
2022-11-14 15:41:01 - The following components were found: GPU with device(s) NVIDIA GeForce RTX 3060. \
CPU with device(s) cpu:0.
2022-11-14 15:41:01 - Monitoring thread started.
2022-11-14 15:43:01 - Epoch 1:
2022-11-14 15:43:01 - Duration: 0:02:00.00
2022-11-14 15:43:01 - Average power usage (W) for gpu: [100.5]
2022-11-14 15:43:01 - Average power usage (W) for cpu: [20.]
2022-11-14 15:44:01 - Epoch 2:
2022-11-14 15:44:01 - Duration: 0:01:00.00
2022-11-14 15:44:01 - Average power usage (W) for gpu: [
 99.0]
2022-11-14 15:44:01 - Average power usage (W) for cpu: None
2022-11-14 15:44:01 - Average carbon intensity during training was 101.97 gCO2/kWh at detected location: \
Copenhagen, Capital Region, DK.
2022-11-14 15:44:01 - Monitoring thread ended.
"""
OUTPUT_LOG = """\
2022-11-14 15:44:01 - CarbonTracker: 
Actual consumption for 2 epoch(s):
\tTime:\t0:03:00
\tEnergy:\t0.009480000000 kWh
\tCO2eq:\t0.966675600000 g
\tThis is equivalent to:
\t0.008 km travelled by car
2022-11-14 15:44:01 - CarbonTracker: 
Predicted consumption for 10 epoch(s):
\tTime:\t0:15:00
\tEnergy:\t0.047 kWh
\tCO2eq:\t4.83 g
"""  # noqa: W291  # as it is written
