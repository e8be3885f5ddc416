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


WITHOUT_A_PLACE_LOG = """\
2026-11-24 20:48:36 - carbontracker version 2.4.7
2026-11-24 20:48:36 - Only predicted and actual consumptions are multiplied by a PUE coefficient of 1.58 (Daniel Bizo, \
2023, Uptime Institute Global Data Center Survey).
2026-11-24 20:48:45 - The following components were found: CPU with device(s) AMD EPYC.
2026-11-24 20:48:45 - Monitoring thread started.
2026-11-24 20:48:49 - Epoch 1:
2026-11-24 20:48:49 - Duration: 0:00:03.18
2026-11-24 20:48:49 - Average power usage (W) for cpu: 60.0
2026-11-24 20:48:52 - Epoch 2:
2026-11-24 20:48:52 - Duration: 0:00:03.17
2026-11-24 20:48:52 - Average power usage (W) for cpu: 60.0
2026-11-24 20:48:55 - Epoch 3:
2026-11-24 20:48:55 - Duration: 0:00:03.00
2026-11-24 20:48:55 - Average power usage (W) for cpu: 60.0
2026-11-24 20:48:55 - Carbon intensities (gCO2eq/kWh) fetched every 900 s at detected location: Unknown: [445.0]
2026-11-24 20:48:55 - Average carbon intensity during training was 445.00 gCO2eq/kWh.\x20
2026-11-24 20:48:55 - Monitoring thread ended.
"""
WITHOUT_A_PLACE_OUTPUT = """\
2026-11-24 20:48:45 - CarbonTracker: The following components were found: CPU with device(s) AMD EPYC.
2026-11-24 20:48:49 - CarbonTracker:\x20
Predicted consumption for 3 epoch(s):
\tTime:\t0:00:10
\tEnergy:\t0.000251541106 kWh
\tCO2eq:\t0.111935791951 g
\tThis is equivalent to:
\t0.001048087940 km travelled by car
2026-11-24 20:48:55 - CarbonTracker: Average carbon intensity during training was 445.00 gCO2eq/kWh.\x20
2026-11-24 20:48:55 - CarbonTracker:\x20
Actual consumption for 3 epoch(s):
\tTime:\t0:00:09
\tEnergy:\t0.000246379192 kWh
\tCO2eq:\t0.109638740420 g
\tThis is equivalent to:
\t0.001026579966 km travelled by car
2026-11-24 20:48:55 - CarbonTracker: Finished monitoring.
"""
"""What carbontracker 2.4.7 wrote on a virtual AMD EPYC without a network."""
WRITTEN = {
    "2.3.4": "2026-11-24T20:49:01,=cmd|'x'!A0 real,21027b8c-6521-41d5-84dc-3cb0dd626ee6,8.158116102218628,"
    "7.83810127367627e-06,9.607734402731376e-07,42.5,0.0,8.82771921157837,9.630946599774891e-05,0,"
    "2.000009437732558e-05,0.0001163095603750745,France,FRA,,,,Linux-6.18.44-fc-v657-x86_64-with-glibc2.36,3.11.7,"
    "2.3.4,2,AMD EPYC,,,,,23.540584564208984,machine,N,1.0",
    "3.3.2": "2026-11-24T20:43:03,=cmd|'x'!A0 real,782b8acd-8d13-46c4-8f42-accf76b57aa1,"
    "5b0fa12a-3dd7-45bb-9766-cc326314d9f1,9.474800374999177,3.5320630444540107e-06,3.7278495637480044e-07,"
    "7.999197653151128,0.0,20.0,1.8008663722713218e-05,0.0,4.501999568330777e-05,6.302865940602099e-05,0.0,France,FRA,"
    ",,,Linux-6.18.44-fc-v657-x86_64-with-glibc2.36,3.11.7,3.3.2,2,AMD EPYC,0,,,,23.540584564208984,machine,"
    "33.333333333333336,0,56.56666666666666,13.320453643798828,N,1.0,0.0",
}
"""Rows that CodeCarbon wrote on the same machine, by version, with the energy [kWh] and emissions [kg] in them."""
