//! Takes a binary program apart, as far as its imports and exports: nothing is compiled here.

use wasmparser::{
    BinaryReaderError, ComponentExternalKind, Encoding, ExternalKind, Parser, Payload,
};

/// What the checks need to know of a program.
#[derive(Debug)]
pub enum Program {
    /// A core module.
    Module(ModuleOutline),
    /// A component.
    Component(ComponentOutline),
}

/// The outside of a core module.
#[derive(Debug, Default)]
pub struct ModuleOutline {
    /// Namespace and name of every import.
    pub imports: Vec<(String, String)>,
    /// Name of every exported function.
    pub functions: Vec<String>,
    /// Name of every exported memory.
    pub memories: Vec<String>,
    /// A module with the same imports and nothing else.
    pub imports_only: Vec<u8>,
}

/// The outside of a component.
#[derive(Debug, Default)]
pub struct ComponentOutline {
    /// Name of every import.
    pub imports: Vec<String>,
    /// Name of every exported instance.
    pub instances: Vec<String>,
    /// A component with the same leading imports and nothing else. Tools put all imports first.
    pub imports_only: Vec<u8>,
    /// How many of `imports` are in `imports_only`.
    pub leading_imports: usize,
}

/// Reads the outline of `binary`.
///
/// # Errors
/// What the parser says about a malformed program.
pub fn outline(binary: &[u8]) -> Result<Program, BinaryReaderError> {
    if Parser::is_component(binary) {
        component(binary).map(Program::Component)
    } else {
        module(binary).map(Program::Module)
    }
}

fn module(binary: &[u8]) -> Result<ModuleOutline, BinaryReaderError> {
    let mut outline = ModuleOutline::default();
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload?;
        match &payload {
            Payload::Version { range, .. } => {
                copy(&mut outline.imports_only, &binary[range.clone()])
            }
            Payload::TypeSection(_) => copy_section(&mut outline.imports_only, &payload, binary),
            Payload::ImportSection(imports) => {
                copy_section(&mut outline.imports_only, &payload, binary);
                for import in imports.clone().into_imports() {
                    let import = import?;
                    outline.imports.push((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => outline.functions.push(export.name.to_owned()),
                        ExternalKind::Memory => outline.memories.push(export.name.to_owned()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

fn component(binary: &[u8]) -> Result<ComponentOutline, BinaryReaderError> {
    let mut outline = ComponentOutline::default();
    let mut depth = 0u32;
    let mut leading = true;
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding: Encoding::Component, range, .. } if depth == 0 => {
                copy(&mut outline.imports_only, &binary[range.clone()]);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                leading = false;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            Payload::ComponentTypeSection(_) | Payload::ComponentAliasSection(_) if leading => {
                copy_section(&mut outline.imports_only, &payload, binary);
            }
            Payload::ComponentImportSection(imports) => {
                if leading {
                    copy_section(&mut outline.imports_only, &payload, binary);
                }
                for import in imports.clone() {
                    outline.imports.push(import?.name.name.to_owned());
                }
                if leading {
                    outline.leading_imports = outline.imports.len();
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        outline.instances.push(export.name.name.to_owned());
                    }
                }
                leading = false;
            }
            Payload::CustomSection(_) => {}
            _ => leading = false,
        }
    }
    Ok(outline)
}

fn copy(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

/// Appends a section as it is: identifier, length in LEB128, content.
fn copy_section(out: &mut Vec<u8>, payload: &Payload<'_>, binary: &[u8]) {
    let Some((id, range)) = payload.as_section() else { return };
    let content = &binary[range];
    out.push(id);
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    copy(out, content);
}
