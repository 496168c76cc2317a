"""Picks the devices to train on: all GPUs, or the CPU as one or more devices."""

import resource

import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.gpus import visible_gpus


def training_strategy(logical_cpus: int | None = None) -> tf.distribute.Strategy:
    """Returns the strategy over all the devices of this host.

    Args:
      logical_cpus: train on the CPU alone, as so many devices; to try out what
        happens on several GPUs. None: all GPUs, or the CPU where there is none.

    Raises:
      UserError: TensorFlow sees fewer GPUs than the driver, or it was started
        before the CPU could be divided.
    """
    if logical_cpus is not None:
        return _strategy_over(_divide_cpu(logical_cpus))
    gpus = tf.config.list_physical_devices("GPU")
    check_gpu_count(len(gpus), len(visible_gpus()))
    for gpu in gpus:
        _grow_memory(gpu)
    return _strategy_over(
        [device.name for device in tf.config.list_logical_devices("GPU")]
    )


def check_gpu_count(seen: int, installed: int) -> None:
    """Refuses to train on less than what the host has.

    Args:
      seen: GPUs that TensorFlow can use.
      installed: GPUs that the driver shows, or that the user chose among them.
    """
    if seen >= installed:
        return
    raise UserError(
        f"nvidia-smi shows {installed} usable GPU(s), TensorFlow {tf.__version__} sees "
        f"{seen}: training would run on {'fewer' if seen else 'the CPU'} without a "
        "word. Install TensorFlow with its CUDA libraries (the extra `gpu`, that is "
        "`tensorflow[and-cuda]`) for a driver that supports them; or, to train "
        "without these GPUs, set CUDA_VISIBLE_DEVICES to those to use ('' for none)."
    )


def _strategy_over(devices: list[str]) -> tf.distribute.Strategy:
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(devices)


def _divide_cpu(count: int) -> list[str]:
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError:  # TensorFlow runs already, perhaps with as many devices
        pass
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(devices) != count or tf.config.list_logical_devices("GPU"):
        raise UserError(
            f"training.logical_cpus asks for {count} devices on the CPU, but "
            f"TensorFlow already runs with {len(devices)} in this process. Train in a "
            "process of its own (`reviewbeam train`), or leave training.logical_cpus "
            "out."
        )
    return devices


def _grow_memory(gpu) -> None:
    try:
        tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:  # already in use; then its setting stands
        pass


def peak_memory() -> dict[str, int]:
    """Returns the peaks of memory so far in bytes: of this process, of each GPU."""
    peaks = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    for device in tf.config.list_logical_devices("GPU"):
        info = tf.config.experimental.get_memory_info(device.name)
        peaks[device.name.removeprefix("/device:")] = info["peak"]
    return peaks
