"""Packaging of reviewbeam; tool settings live in pyproject.toml."""

from setuptools import find_packages, setup

# The source tree keeps `pipelines/` and `components/` at its top level; installed,
# they are `reviewbeam.pipelines` and `reviewbeam.components`, so that they collide
# with no other package of those common names on a worker. `reviewbeam` itself is a
# namespace package without an `__init__.py`.
SOURCES = ("pipelines", "components")

packages = [
    name
    for source in SOURCES
    for name in find_packages(include=[source, f"{source}.*"])
]

INSTALL_REQUIRES = [
    # Two stacks fit these ranges, because TFDV's wheels need glibc 2.39 from 1.17 on:
    # TFDV 1.16.1 with TensorFlow 2.16 (Python 3.11), and the current releases (Python
    # 3.11 to 3.13). An exact lock for each, `requirements-glibc*.lock`, lies beside
    # this file.
    "tensorflow>=2.16,<2.22",
    "tensorflow-data-validation>=1.16.1,<1.22",
    "tfx-bsl>=1.16.1,<1.22",
    "tensorflow-metadata>=1.16.1,<1.22",
    "apache-beam>=2.72,<2.78",
    "pyarrow>=10,<26",
    "pandas>=1.5.3,<3",
    "numpy>=1.26,<3",
    "h5py>=3.11,<4",
    "protobuf>=4.25,<7",
    "keras>=3.15,<4",
    "keras-hub>=0.31,<1",  # It brings tensorflow-text.
    "transformers>=5.23,<6",
    "tokenizers>=0.22,<1",
    "safetensors>=0.4.3,<1",
    # 0.2.3's protobuf code asks for protobuf 7, which TensorFlow 2.21 refuses; both
    # stacks tokenize with the same release.
    "sentencepiece>=0.2.1,<0.2.2",
    "scikit-learn>=1.7,<2",
    "scipy>=1.13,<2",
    "pydantic>=2.11,<3",
    "PyYAML>=6,<7",
    "rich>=13,<16",
    "jinja2>=3.1,<4",  # the reports
    "matplotlib>=3.9,<4",
    "orjson>=3.10,<4",
    "zstandard>=0.23,<1",
    "google-crc32c>=1.5,<2",  # TFRecord checksums; Beam has none of its own.
    "dill>=0.3,<1",  # tfx-bsl 1.16 imports it without declaring it.
]

EXTRAS_REQUIRE = {
    "gpu": ["tensorflow[and-cuda]>=2.16,<2.22"],
    "openvino": ["openvino>=2026.1", "nncf>=3"],
    "tune": ["keras-tuner>=1.4.8,<2"],
    "hf": ["torch>=2.4"],
    "language": ["pycld2>=0.42,<1"],
    # Outputs and artifacts in object stores; boto3 is Beam's, for reading corpora.
    "stores": ["obstore>=0.9,<1", "boto3>=1.34,<2"],
    "dev": [
        "boto3>=1.34,<2",  # as `stores` has it, for the tests
        "build>=1.2",
        "duckdb>=1.4",  # a reader of scores, for the tests
        "flask>=3,<4",  # moto's server
        "flask-cors>=5",
        "hypothesis>=6.100",
        "keras-tuner>=1.4.8,<2",  # as `tune` has it, for the tests
        "moto[s3]>=5.1,<6",  # an S3 server, for the tests
        "nncf>=3",  # as `openvino` has it, for the tests
        "obstore>=0.9,<1",  # as `stores` has it, for the tests
        "openvino>=2026.1",
        "playwright>=1.50,<2",  # opens the reports in a browser, for the tests
        "pycld2>=0.42,<1",  # as `language` has it, for the tests
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6,<4",
        "ruff>=0.12",
    ],
}

setup(
    name="reviewbeam",
    version="0.1.0",
    description=(
        "Apache Beam and Keras pipelines that validate, tokenize, learn from and "
        "score multilingual product reviews."
    ),
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    package_dir={f"reviewbeam.{source}": source for source in SOURCES},
    packages=[f"reviewbeam.{name}" for name in packages],
    package_data={"": ["*.css", "*.html", "*.jinja", "*.json", "*.yaml"]},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={
        "console_scripts": [
            "reviewbeam = reviewbeam.pipelines.cli:main",
            "reviewbeam-worker = reviewbeam.pipelines.worker_boot:main",
        ]
    },
)
