//! Adapters in the format of the PEFT library: `adapter_config.json` and `adapter_model.safetensors`.
