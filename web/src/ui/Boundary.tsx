import { Component, type ReactNode } from "react";

/** Keeps a fault in one part from blanking the page. */
export class Boundary extends Component<{ children: ReactNode }, { fault?: Error }> {
  override state: { fault?: Error } = {};

  static getDerivedStateFromError(fault: Error) {
    return { fault };
  }

  override render() {
    if (!this.state.fault) return this.props.children;
    return (
      <div className="page">
        <div className="failure" role="alert">
          <p>This part of the page failed: {this.state.fault.message}</p>
          <button type="button" className="button" onClick={() => this.setState({ fault: undefined })}>
            Try again
          </button>
        </div>
      </div>
    );
  }
}
